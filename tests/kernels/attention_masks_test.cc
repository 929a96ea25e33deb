// Masks: each alone and every combination, queries that see nothing, and keys that must not be
// looked at.
#include <limits>

#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "kernels/attention_problem.h"
#include "kernels/attention_tolerance.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::Documents;
using testing::ExpectAttentionClose;
using testing::ExpectAttentionMatchesReference;
using testing::RunAttention;

TEST(AttentionMasksTest, EveryCombination) {
  uint64_t seed = 1;
  const GateSite sites[] = {GateSite::kNone, GateSite::kQuery, GateSite::kKey};
  for (const int64_t T : {1, 7, 64, 130}) {
    for (int combination = 0; combination < 8; ++combination) {
      AttentionProblem problem = {.B = 3, .T = T, .H = 2, .D = 12, .site = sites[seed % 3]};
      problem.causal = (combination & 1) != 0;
      if ((combination & 2) != 0) {
        problem.lengths = {static_cast<int32_t>(T), static_cast<int32_t>(T / 2), 1};
      }
      if ((combination & 4) != 0) problem.documents = Documents(3, T, {5, 70, 1, 33});
      problem.dropout = combination % 3 == 0 ? 0.1f : 0;
      ExpectAttentionMatchesReference<float>(problem, ++seed);
      ExpectAttentionMatchesReference<bf16>(problem, ++seed);
    }
  }
}

TEST(AttentionMasksTest, EveryLengthOfARow) {
  for (int32_t length = 0; length <= 68; ++length) {
    AttentionProblem problem = {.B = 2, .T = 68, .H = 1, .D = 8, .site = GateSite::kKey};
    problem.lengths = {length, 68 - length};
    ExpectAttentionMatchesReference<float>(problem, 100 + static_cast<uint64_t>(length));
  }
}

TEST(AttentionMasksTest, DocumentsOfEveryLength) {
  for (int length = 1; length <= 40; ++length) {
    AttentionProblem problem = {.B = 1, .T = 90, .H = 1, .D = 8, .site = GateSite::kQuery};
    problem.causal = length % 2 == 0;
    problem.documents = Documents(1, 90, {length});
    ExpectAttentionMatchesReference<float>(problem, 200 + static_cast<uint64_t>(length));
  }
}

// A query that sees no key: output 0, log-sum-exp -infinity, no gradient anywhere.
TEST(AttentionMasksTest, FullyMaskedRows) {
  for (const bool causal : {false, true}) {
    AttentionProblem problem = {.B = 2, .T = 70, .H = 2, .D = 16, .site = GateSite::kQuery};
    problem.causal = causal;
    problem.lengths = {0, 66};
    const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 300);
    const auto results = RunAttention<float>(problem, inputs);
    ExpectAttentionClose(problem, inputs, results, RunAttention<double>(problem, inputs));
    for (int64_t token = 0; token < problem.tokens(); ++token) {
      const bool padding = token < 70 || token - 70 >= 66;
      for (int64_t c = 0; padding && c < 32; ++c) {
        ASSERT_EQ(results.out[token * 32 + c], 0.0f);
        ASSERT_EQ(results.dq[token * 32 + c], 0.0f);
        ASSERT_EQ(results.dk[token * 32 + c], 0.0f);
        ASSERT_EQ(results.dv[token * 32 + c], 0.0f);
      }
      for (int64_t h = 0; padding && h < 2; ++h) {
        ASSERT_EQ(results.dgate[token * 2 + h], 0.0f);
        ASSERT_EQ(results.log_sum_exp[(token / 70 * 2 + h) * 70 + token % 70],
                  -std::numeric_limits<float>::infinity());
      }
    }
  }
}

// Rubbish in padding is rubbish nowhere else: masked keys are not looked at, not even times zero.
template <typename T>
void ExpectNaNInPaddingStaysThere(GateSite site) {
  AttentionProblem problem = {.B = 1, .T = 70, .H = 1, .D = 16, .site = site};
  problem.lengths = {65};
  const AttentionInputs clean = AttentionInputs::Make<T>(problem, 400);
  AttentionInputs dirty = clean;
  for (auto* values : {&dirty.q, &dirty.k, &dirty.v, &dirty.dout}) {
    std::fill(values->begin() + 65 * 16, values->end(), std::nan(""));
  }
  const auto expected = RunAttention<T>(problem, clean);
  const auto actual = RunAttention<T>(problem, dirty);
  testing::ExpectSameBits<T>("out", actual.out, expected.out);
  testing::ExpectSameBits<T>("dq", actual.dq, expected.dq);
  testing::ExpectSameBits<T>("dk", actual.dk, expected.dk);
  testing::ExpectSameBits<T>("dv", actual.dv, expected.dv);
  testing::ExpectSameBits<float>("dgate", actual.dgate, expected.dgate);
}

TEST(AttentionMasksTest, NaNInPaddingStaysThere) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    ExpectNaNInPaddingStaysThere<float>(site);
    ExpectNaNInPaddingStaysThere<bf16>(site);
  }
}

// Causal: what comes later changes nothing that came before.
TEST(AttentionMasksTest, TheFutureDoesNotMatter) {
  AttentionProblem problem = {.B = 1, .T = 100, .H = 1, .D = 16};
  problem.causal = true;
  const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 500);
  AttentionInputs other = inputs;
  for (auto* values : {&other.k, &other.v}) {
    for (size_t i = 70 * 16; i < values->size(); ++i) (*values)[i] = -(*values)[i];
  }
  const auto a = RunAttention<float>(problem, inputs), b = RunAttention<float>(problem, other);
  testing::ExpectSameBits<float>("past", std::span<const float>(a.out).first(70 * 16),
                                 std::span<const float>(b.out).first(70 * 16));
  EXPECT_NE(a.out[70 * 16], b.out[70 * 16]);
}

}  // namespace
}  // namespace sluice
