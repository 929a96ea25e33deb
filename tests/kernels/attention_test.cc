// The fused kernels against the reference: shapes, types, gates, dropout, threads.
#include "kernels/api/attention.h"

#include "core/parallel.h"
#include "gtest/gtest.h"
#include "kernels/attention_problem.h"
#include "kernels/attention_sameness.h"
#include "kernels/attention_tolerance.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::ExpectAttentionMatchesReference;
using testing::ExpectSameBits;
using testing::ExpectSameResults;
using testing::RunAttention;
using testing::ScopedThreads;

constexpr GateSite kSites[] = {GateSite::kNone, GateSite::kQuery, GateSite::kKey};

TEST(AttentionTest, EverySequenceLengthAroundTheTiles) {
  uint64_t seed = 100;
  for (const int64_t T : {1, 2, 3, 5, 6, 7, 15, 16, 17, 33, 63, 64, 65, 70, 127, 128, 129}) {
    const AttentionProblem problem = {.B = 1, .T = T, .H = 2, .D = 16, .site = kSites[seed % 3]};
    ExpectAttentionMatchesReference<float>(problem, ++seed);
    ExpectAttentionMatchesReference<bf16>(problem, ++seed);
  }
}

TEST(AttentionTest, EveryHeadSizeAroundTheVectors) {
  uint64_t seed = 200;
  for (const int64_t D :
       {1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 31, 40, 63, 64, 65, 80, 96, 128, 200, 256}) {
    const AttentionProblem problem = {.B = 1, .T = 21, .H = 2, .D = D, .site = kSites[seed % 3]};
    ExpectAttentionMatchesReference<float>(problem, ++seed);
    ExpectAttentionMatchesReference<bf16>(problem, ++seed);
  }
}

// The head sizes that CUDA has tiles for, over several tiles of queries and of keys.
TEST(AttentionTest, EveryTiledHeadSize) {
  uint64_t seed = 250;
  for (const int64_t D : {32, 64, 80, 96, 128, 256}) {
    for (const bool causal : {false, true}) {
      const AttentionProblem problem = {.B = 1,
                                        .T = D < 128 ? 131 : 67,
                                        .H = 2,
                                        .D = D,
                                        .site = kSites[seed % 3],
                                        .causal = causal,
                                        .dropout = causal ? 0.1f : 0.0f};
      ExpectAttentionMatchesReference<float>(problem, ++seed);
      ExpectAttentionMatchesReference<bf16>(problem, ++seed);
    }
  }
}

TEST(AttentionTest, EveryInstructionSet) {
  testing::OnEachInstructionSet([] {
    uint64_t seed = 280;
    for (const GateSite site : kSites) {
      for (const int64_t T : {1, 7, 70}) {
        for (const int64_t D : {3, 16, 37, 72}) {
          const AttentionProblem problem = {.B = 1,
                                            .T = T,
                                            .H = 2,
                                            .D = D,
                                            .site = site,
                                            .causal = D == 37,
                                            .dropout = T == 70 ? 0.1f : 0.0f};
          ExpectAttentionMatchesReference<float>(problem, ++seed);
          ExpectAttentionMatchesReference<bf16>(problem, ++seed);
        }
      }
    }
  });
}

TEST(AttentionTest, LongRows) {
  ExpectAttentionMatchesReference<float>(
      {.B = 1, .T = 512, .H = 1, .D = 24, .site = GateSite::kQuery, .dropout = 0.1f}, 300);
  ExpectAttentionMatchesReference<bf16>(
      {.B = 1, .T = 300, .H = 1, .D = 64, .site = GateSite::kKey, .dropout = 0.1f}, 301);
}

TEST(AttentionTest, EveryGateWithAndWithoutDropout) {
  uint64_t seed = 400;
  for (const GateSite site : kSites) {
    for (const float dropout : {0.0f, 0.1f, 0.5f, 0.9f}) {
      const AttentionProblem problem = {
          .B = 2, .T = 67, .H = 3, .D = 20, .site = site, .dropout = dropout};
      ExpectAttentionMatchesReference<float>(problem, ++seed);
      ExpectAttentionMatchesReference<bf16>(problem, ++seed);
    }
  }
}

TEST(AttentionTest, MisalignedTensorsAndOddStrides) {
  for (const int64_t misalignment : {1, 3, 7}) {
    for (const GateSite site : kSites) {
      AttentionProblem problem = {.B = 2, .T = 35, .H = 2, .D = 33, .site = site, .dropout = 0.2f};
      problem.stride = 3 * 2 * 33 + misalignment;
      problem.misalignment = misalignment;
      ExpectAttentionMatchesReference<float>(problem, 500 + misalignment);
      ExpectAttentionMatchesReference<bf16>(problem, 600 + misalignment);
    }
  }
}

// Scores in the hundreds: the softmax is shifted by the maximum, so nothing overflows.
TEST(AttentionTest, LargeScores) {
  const AttentionProblem problem = {.B = 1, .T = 40, .H = 1, .D = 8};
  AttentionInputs inputs = AttentionInputs::Make<float>(problem, 700);
  for (double& q : inputs.q) q *= 128;
  testing::ExpectAttentionClose(problem, inputs, RunAttention<float>(problem, inputs),
                                RunAttention<double>(problem, inputs));
}

TEST(AttentionTest, SameBitsForAnyNumberOfThreads) {
  uint64_t seed = 800;
  for (const int64_t B : {1, 5}) {
    for (const bool causal : {false, true}) {
      const AttentionProblem problem = {.B = B,
                                        .T = 200,
                                        .H = 1,
                                        .D = 32,
                                        .site = kSites[1 + seed % 2],
                                        .causal = causal,
                                        .dropout = 0.1f};
      const AttentionInputs inputs = AttentionInputs::Make<float>(problem, ++seed);
      const AttentionInputs inputs16 = AttentionInputs::Make<bf16>(problem, seed);
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
}

// Negative control: a gate that is 1 everywhere is no gate, to the bit.
TEST(AttentionTest, AnOpenGateIsVanillaToTheBit) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    for (const float dropout : {0.0f, 0.1f}) {
      AttentionProblem problem = {.B = 2, .T = 70, .H = 2, .D = 40, .dropout = dropout};
      const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 900);
      const AttentionInputs inputs16 = AttentionInputs::Make<bf16>(problem, 900);
      auto vanilla = RunAttention<float>(problem, inputs);
      auto vanilla16 = RunAttention<bf16>(problem, inputs16);
      problem.site = site;
      AttentionInputs open = inputs, open16 = inputs16;
      open.gate.assign(inputs.gate.size(), 1.0);
      open16.gate = open.gate;
      const auto gated = RunAttention<float>(problem, open);
      const auto gated16 = RunAttention<bf16>(problem, open16);
      vanilla.dgate = gated.dgate;  // the one result that vanilla lacks
      vanilla16.dgate = gated16.dgate;
      ExpectSameResults(gated, vanilla);
      ExpectSameResults(gated16, vanilla16);
    }
  }
}

// A shut gate lets nothing through, and its own gradient is still there to open it again.
TEST(AttentionTest, AShutGatePassesNothingButItsOwnGradient) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    const AttentionProblem problem = {.B = 1, .T = 20, .H = 2, .D = 16, .site = site};
    AttentionInputs inputs = AttentionInputs::Make<float>(problem, 950);
    inputs.gate.assign(inputs.gate.size(), 0.0);
    const auto results = RunAttention<float>(problem, inputs);
    for (const auto* values : {&results.out, &results.dq, &results.dk, &results.dv}) {
      for (const float value : *values) ASSERT_EQ(value, 0.0f);
    }
    testing::ExpectAttentionClose(problem, inputs, results, RunAttention<double>(problem, inputs));
    double size = 0;
    for (const float value : results.dgate) size += std::abs(value);
    EXPECT_GT(size, 0.1);
  }
}

// Where all keys of a head are the same, probabilities are equal and dq = scale · k Σ_j ds[i, j] is
// nothing: what is left of it is the error of D_i and the roundings of ds. Operands of 16 bits are
// rounded to them, out too, of which D_i is made.
template <typename T>
void ExpectNoGradientThroughEqualKeys(GateSite site) {
  const AttentionProblem problem = {.B = 2, .T = 75, .H = 2, .D = 48, .site = site};
  const int64_t C = problem.H * problem.D;
  AttentionInputs inputs = AttentionInputs::Make<T>(problem, 970);
  for (size_t i = 0; i < inputs.k.size(); ++i) inputs.k[i] = inputs.k[i % C];
  const auto results = RunAttention<T>(problem, inputs);
  const double rounding = testing::OperandRounding<T>() + testing::Roundings(200);
  for (int64_t n = 0; n < problem.tokens(); ++n) {
    for (int64_t h = 0; h < problem.H; ++h) {
      const double* dout = &inputs.dout[n * C + h * problem.D];
      double spread = 0, sum = 0;  // Σ_j p |dp|, Σ_d |dout out|
      for (int64_t j = n / problem.T * problem.T; j < (n / problem.T + 1) * problem.T; ++j) {
        double product = 0;
        for (int64_t d = 0; d < problem.D; ++d) {
          product += dout[d] * inputs.v[j * C + h * problem.D + d];
        }
        spread += std::abs(product) / static_cast<double>(problem.T);
      }
      for (int64_t d = 0; d < problem.D; ++d) {
        sum += std::abs(dout[d] * static_cast<double>(results.out[n * C + h * problem.D + d]));
      }
      // Twice the sum: p̃, of which out is made, is an operand as well. |dp - D| <= |dp| + |D|.
      const double bound = rounding * (2 * sum + spread + sum) * inputs.scale;
      for (int64_t d = 0; d < problem.D; ++d) {
        const double k = std::abs(inputs.k[h * problem.D + d]);
        const double dq = static_cast<double>(results.dq[n * C + h * problem.D + d]);
        ASSERT_LE(std::abs(dq), k * bound + 1e-30) << "site " << static_cast<int>(site) << " " << n;
      }
    }
  }
}

TEST(AttentionTest, GradientsOfARowsScoresCancel) {
  for (const GateSite site : kSites) {
    ExpectNoGradientThroughEqualKeys<float>(site);
    ExpectNoGradientThroughEqualKeys<bf16>(site);
  }
}

TEST(AttentionTest, ForwardWithoutSavingLogSumExp) {
  const int64_t T = 9, H = 2, D = 8, count = T * H * D;
  const auto q = testing::OnBackend(testing::Cast<float>(testing::RandomValues(count, 1)));
  testing::PoisonedBuffer<float> with(count), without(count), log_sum_exp(H * T);
  testing::PoisonedBuffer<float> workspace(testing::ForwardWorkspaceFloats(1, T, H, D));
  AttentionForwardArgs<float> args = {.q = q.data(),
                                      .k = q.data(),
                                      .v = q.data(),
                                      .gate = nullptr,
                                      .out = with.data(),
                                      .log_sum_exp = log_sum_exp.data(),
                                      .B = 1,
                                      .T_ = T,
                                      .H = H,
                                      .D = D,
                                      .qkv_stride = H * D,
                                      .scale = 0.5f,
                                      .mask = {},
                                      .dropout = {},
                                      .workspace = workspace.data()};
  ASSERT_TRUE(backend::AttentionForward<float>(args).ok());
  args.out = without.data();
  args.log_sum_exp = nullptr;
  ASSERT_TRUE(backend::AttentionForward<float>(args).ok());
  ExpectSameBits("out", without.values(), with.values());
}

}  // namespace
}  // namespace sluice
