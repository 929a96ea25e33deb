// The kernels of the attention variants against the reference: every combination of gates,
// clipping, sinks and registers, with the masks, dropout and shapes going round.
#include <algorithm>
#include <vector>

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
using testing::ExpectSameBits;
using testing::ExpectSameResults;
using testing::RunAttention;
using testing::ScopedThreads;

constexpr ClippedSoftmax kClips[] = {{},
                                     {.gamma = -0.02f, .zeta = 1.003f},
                                     {.gamma = -0.03f, .zeta = 1},
                                     {.gamma = 0, .zeta = 1.1f}};

// Every combination of the parts: 3 sites, per head and per channel, clipped or not, 3 sinks, sink
// token or not, registers or not.
std::vector<AttentionProblem> Combinations() {
  std::vector<AttentionProblem> problems;
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (const SoftmaxSink sink : {SoftmaxSink::kNone, SoftmaxSink::kZero, SoftmaxSink::kLogit}) {
      for (int parts = 0; parts < 16; ++parts) {
        problems.push_back({.site = site,
                            .per_channel = (parts & 1) != 0,
                            .clip = (parts & 2) != 0 ? kClips[1 + problems.size() % 3] : kClips[0],
                            .sink = sink,
                            .sink_token = (parts & 4) != 0,
                            .registers = (parts & 8) != 0 ? 3 : 0});
      }
    }
  }
  return problems;
}

// masks: bits for causal, lengths, documents, dropout.
AttentionProblem Shaped(AttentionProblem problem, int64_t T, int64_t D, int masks) {
  problem.B = 2;
  problem.H = 2;
  problem.T = T;
  problem.D = D;
  problem.registers = std::min(problem.registers, T);
  problem.causal = (masks & 1) != 0;
  if ((masks & 2) != 0) {
    problem.lengths = {static_cast<int32_t>(T), static_cast<int32_t>(T - T / 3)};
  }
  if ((masks & 4) != 0) problem.documents = Documents(2, T, {5, 40, 1, 12});
  problem.dropout = (masks & 8) != 0 ? 0.2f : 0;
  return problem;
}

TEST(AttentionVariantsTest, EveryCombination) {
  constexpr int64_t kLengths[] = {67, 1, 20, 5, 71, 7, 33};
  constexpr int64_t kHeadSizes[] = {8, 3, 17, 20, 33};
  uint64_t count = 0;
  for (const AttentionProblem& combination : Combinations()) {
    const auto problem = Shaped(combination, kLengths[count % 7], kHeadSizes[count % 5],
                                static_cast<int>(count * 5 % 16));
    ++count;
    ExpectAttentionMatchesReference<float>(problem, 1000 * count);
    ExpectAttentionMatchesReference<bf16>(problem, 1000 * count + 500);
  }
}

TEST(AttentionVariantsTest, EveryInstructionSet) {
  testing::OnEachInstructionSet([] {
    const auto combinations = Combinations();
    for (size_t i = 0; i < combinations.size(); i += 5) {
      const auto problem = Shaped(combinations[i], i % 2 == 0 ? 70 : 9, i % 3 == 0 ? 37 : 16,
                                  static_cast<int>(i * 3 % 16));
      ExpectAttentionMatchesReference<float>(problem, 200'000 + i);
      ExpectAttentionMatchesReference<bf16>(problem, 300'000 + i);
    }
  });
}

// Everything at once, under every mask, over several query blocks.
TEST(AttentionVariantsTest, AllAtOnceUnderEveryMask) {
  for (int masks = 0; masks < 16; ++masks) {
    for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
      const AttentionProblem problem = {.site = site,
                                        .per_channel = masks % 3 == 0,
                                        .clip = kClips[masks % 4],
                                        .sink = SoftmaxSink::kLogit,
                                        .sink_token = true,
                                        .registers = 2};
      const uint64_t seed = 400'000 + static_cast<uint64_t>(masks);
      ExpectAttentionMatchesReference<float>(Shaped(problem, 140, 12, masks), seed);
      ExpectAttentionMatchesReference<bf16>(Shaped(problem, 140, 12, masks), seed);
    }
  }
}

TEST(AttentionVariantsTest, RegistersOfEveryNumberUnderEveryMask) {
  uint64_t seed = 500'000;
  for (const int64_t registers : {1, 5, 6, 15, 16, 17, 63, 64, 65, 100}) {
    for (int masks = 0; masks < 8; ++masks) {
      const AttentionProblem problem = {.sink_token = (masks + registers) % 3 == 0,
                                        .registers = registers};
      ExpectAttentionMatchesReference<float>(Shaped(problem, 100, 8, masks), ++seed);
    }
  }
}

TEST(AttentionVariantsTest, MisalignedTensorsAndOddStrides) {
  for (const int64_t misalignment : {1, 3, 7}) {
    for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
      for (const bool per_channel : {false, true}) {
        AttentionProblem problem = {.site = site,
                                    .per_channel = per_channel,
                                    .clip = kClips[1],
                                    .sink = SoftmaxSink::kLogit,
                                    .sink_token = true,
                                    .registers = 1};
        problem = Shaped(problem, 35, 33, 12);
        problem.stride = 3 * 2 * 33 + misalignment;
        problem.misalignment = misalignment;
        ExpectAttentionMatchesReference<float>(problem, 600'000 + misalignment);
        ExpectAttentionMatchesReference<bf16>(problem, 600'100 + misalignment);
      }
    }
  }
}

TEST(AttentionVariantsTest, SameBitsForAnyNumberOfThreads) {
  for (const int masks : {8, 13}) {
    AttentionProblem problem = {.site = GateSite::kQuery,
                                .per_channel = masks == 13,
                                .clip = kClips[masks % 2],
                                .sink = SoftmaxSink::kLogit,
                                .sink_token = true,
                                .registers = 3};
    problem = Shaped(problem, 150, 32, masks);
    problem.B = 5;
    if (!problem.documents.empty()) problem.documents = Documents(5, 150, {30, 70, 9});
    const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 700'000);
    const AttentionInputs inputs16 = AttentionInputs::Make<bf16>(problem, 700'001);
    const ScopedThreads one(1);
    const auto expected = RunAttention<float>(problem, inputs);
    const auto expected16 = RunAttention<bf16>(problem, inputs16);
    for (const int threads : {2, 3, 8}) {
      const ScopedThreads several(threads);
      ExpectSameResults(RunAttention<float>(problem, inputs), expected);
      ExpectSameResults(RunAttention<bf16>(problem, inputs16), expected16);
    }
  }
}

// Whole tiles of keys between the registers and a query's document are not looked at, not even
// times zero.
TEST(AttentionVariantsTest, WhatLiesInTheGapIsNotRead) {
  AttentionProblem problem = {.T = 384,
                              .D = 16,
                              .site = GateSite::kQuery,
                              .sink = SoftmaxSink::kLogit,
                              .sink_token = true,
                              .registers = 3};
  problem.documents = Documents(1, 384, {64});
  const AttentionInputs clean = AttentionInputs::Make<float>(problem, 800'000);
  AttentionInputs dirty = clean;
  for (auto* values : {&dirty.q, &dirty.k, &dirty.v}) {
    std::fill(values->begin() + 128 * 16, values->begin() + 192 * 16, std::nan(""));
  }
  const auto expected = RunAttention<float>(problem, clean);
  const auto actual = RunAttention<float>(problem, dirty);
  for (const int document : {0, 4, 5}) {
    const auto rows = [&](const std::vector<float>& values) {
      return std::span<const float>(values).subspan(document * 64 * 16, 64 * 16);
    };
    ExpectSameBits<float>("out", rows(actual.out), rows(expected.out));
    ExpectSameBits<float>("dq", rows(actual.dq), rows(expected.dq));
  }
  for (const auto& results : {actual, expected}) {
    EXPECT_TRUE(std::isfinite(results.dk[340 * 16]) && std::isfinite(results.dv[340 * 16]));
  }
}

// Padding sees neither registers nor sinks, and a row without a token adds nothing to a sink.
TEST(AttentionVariantsTest, PaddingHasNoGradient) {
  AttentionProblem problem = {.B = 1,
                              .T = 70,
                              .D = 16,
                              .site = GateSite::kQuery,
                              .per_channel = true,
                              .sink = SoftmaxSink::kLogit,
                              .sink_token = true,
                              .registers = 2};
  problem.lengths = {0};
  const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 900'000);
  const auto results = RunAttention<float>(problem, inputs);
  for (const auto* values : {&results.out, &results.dq, &results.dk, &results.dv, &results.dgate}) {
    for (const float value : *values) ASSERT_EQ(value, 0.0f);
  }
  for (const float value : results.log_sum_exp) {
    ASSERT_EQ(value, -std::numeric_limits<float>::infinity());
  }
  ExpectSameBits<float>("dsink_logit", results.dsink_logit,
                        testing::Cast<float>(inputs.dsink_logit));
  ExpectSameBits<float>("dsink_key", results.dsink_key, testing::Cast<float>(inputs.dsink_key));
  ExpectSameBits<float>("dsink_value", results.dsink_value,
                        testing::Cast<float>(inputs.dsink_value));
}

// A sink far above every score takes nearly everything; scores far above it leave it nothing.
TEST(AttentionVariantsTest, LargeSinkLogits) {
  for (const double logit : {-300.0, 20.0, 300.0}) {
    const AttentionProblem problem = {.T = 40, .sink = SoftmaxSink::kLogit};
    AttentionInputs inputs = AttentionInputs::Make<float>(problem, 950'000);
    inputs.sink_logit = {logit};
    testing::ExpectAttentionClose(problem, inputs, RunAttention<float>(problem, inputs),
                                  RunAttention<double>(problem, inputs));
  }
}

}  // namespace
}  // namespace sluice
