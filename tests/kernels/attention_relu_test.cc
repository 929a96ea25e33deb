// Attention without a softmax, against the reference: sites and kinds of gates, sink token,
// registers, masks, dropout and shapes going round.
#include <algorithm>

#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "kernels/attention_problem.h"
#include "kernels/attention_sameness.h"
#include "kernels/attention_tolerance.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::Documents;
using testing::ExpectAttentionMatchesReference;
using testing::ExpectSameResults;
using testing::RunAttention;
using testing::ScopedThreads;

// parts: bits for a gate per channel, sink token, registers; masks: causal, lengths, documents,
// dropout.
AttentionProblem Rectified(GateSite site, int parts, int64_t T, int64_t D, int masks) {
  AttentionProblem problem = {.B = 2,
                              .T = T,
                              .H = 2,
                              .D = D,
                              .site = site,
                              .causal = (masks & 1) != 0,
                              .dropout = (masks & 8) != 0 ? 0.2f : 0,
                              .per_channel = (parts & 1) != 0,
                              .weights = AttentionWeights::kRelu,
                              .sink_token = (parts & 2) != 0,
                              .registers = (parts & 4) != 0 ? std::min<int64_t>(3, T) : 0};
  if ((masks & 2) != 0) {
    problem.lengths = {static_cast<int32_t>(T), static_cast<int32_t>(T - T / 3)};
  }
  if ((masks & 4) != 0) problem.documents = Documents(2, T, {5, 40, 1, 12});
  return problem;
}

TEST(AttentionReluTest, EveryCombinationUnderMasksGoingRound) {
  constexpr int64_t kLengths[] = {67, 1, 20, 5, 71, 7, 33};
  constexpr int64_t kHeadSizes[] = {8, 3, 17, 20, 33};
  uint64_t count = 0;
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (int parts = 0; parts < 8; ++parts) {
      for (int n = 0; n < 6; ++n) {  // six of the sixteen masks
        const auto problem = Rectified(site, parts, kLengths[count % 7], kHeadSizes[count % 5],
                                       static_cast<int>(count * 5 % 16));
        ++count;
        ExpectAttentionMatchesReference<float>(problem, 1000 * count);
        if (count % 2 == 0) ExpectAttentionMatchesReference<bf16>(problem, 1000 * count + 500);
      }
    }
  }
}

TEST(AttentionReluTest, EveryInstructionSetOverSeveralBlocksOfQueries) {
  testing::OnEachInstructionSet([] {
    for (int masks = 0; masks < 16; masks += 5) {
      const auto problem = Rectified(GateSite::kQuery, 6, 140, 12, masks);
      ExpectAttentionMatchesReference<float>(problem, 200'000 + static_cast<uint64_t>(masks));
      ExpectAttentionMatchesReference<bf16>(problem, 300'000 + static_cast<uint64_t>(masks));
    }
  });
}

// The head of the Bigram-Backcopy model.
TEST(AttentionReluTest, OneWideHead) {
  AttentionProblem problem = Rectified(GateSite::kNone, 0, 64, 256, 1);
  problem.H = 1;
  ExpectAttentionMatchesReference<float>(problem, 400'000);
  ExpectAttentionMatchesReference<bf16>(problem, 400'001);
}

TEST(AttentionReluTest, SameBitsForAnyNumberOfThreads) {
  const AttentionProblem problem = Rectified(GateSite::kQuery, 6, 150, 32, 13);
  const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 700'000);
  const ScopedThreads one(1);
  const auto expected = RunAttention<float>(problem, inputs);
  for (const int threads : {2, 3, 8}) {
    const ScopedThreads several(threads);
    ExpectSameResults(RunAttention<float>(problem, inputs), expected);
  }
}

}  // namespace
}  // namespace sluice
