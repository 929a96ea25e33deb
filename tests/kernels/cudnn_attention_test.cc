// Attention by cuDNN, with our kernels for gates around it, against the reference; on the emulator
// by cuDNN's stand-in.
#include "kernels/api/cudnn_attention.h"

#include <cstdlib>
#include <limits>

#include "gtest/gtest.h"
#include "kernels/attention_problem.h"
#include "kernels/attention_sameness.h"
#include "kernels/attention_tolerance.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::AttentionResults;
using testing::BackendVector;
using testing::OnBackend;
using testing::PoisonedBuffer;
using testing::RunOnBackend;

class CudnnAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY", "90", 1);
    const cuda::CudnnFacts facts = cuda::ReadCudnnFacts();
    const int major = facts.compute_capability / 10;
    if (facts.version < 92800 || major < 9 || major > 10) {
      GTEST_SKIP() << "SKIPPED: cuDNN " << facts.version << " on sm_" << facts.compute_capability
                   << " does not run this";
    }
  }
  void TearDown() override { unsetenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY"); }

  template <typename T>
  AttentionResults<T> Run(const AttentionProblem& problem, const AttentionInputs& inputs);
  template <typename T>
  void ExpectMatchesReference(const AttentionProblem& problem, uint64_t seed) {
    SCOPED_TRACE(problem.Name() + " seed " + std::to_string(seed));
    const AttentionInputs inputs = AttentionInputs::Make<T>(problem, seed);
    testing::ExpectAttentionClose(problem, inputs, Run<T>(problem, inputs),
                                  testing::RunAttention<double>(problem, inputs),
                                  /*stored_between=*/2);
  }
  void ExpectBothTypes(const AttentionProblem& problem, uint64_t seed) {
    ExpectMatchesReference<bf16>(problem, seed);
    ExpectMatchesReference<fp16>(problem, seed);
  }

  cuda::CudnnAttention cudnn_;
};

// q, k, v side by side, as a packed projection has them.
template <typename T>
BackendVector<T> Pack(const AttentionProblem& problem, const AttentionInputs& inputs) {
  const int64_t C = problem.H * problem.D;
  BackendVector<T> packed(problem.tokens() * 3 * C);
  for (int64_t i = 0; i < problem.tokens() * C; ++i) {
    const int64_t at = i / C * 3 * C + i % C;
    packed[at] = T(static_cast<float>(inputs.q[i]));
    packed[at + C] = T(static_cast<float>(inputs.k[i]));
    packed[at + 2 * C] = T(static_cast<float>(inputs.v[i]));
  }
  return packed;
}

// Part 0, 1 or 2 of what Pack packed.
template <typename T>
std::vector<T> Unpack(const AttentionProblem& problem, const PoisonedBuffer<T>& packed, int part) {
  const int64_t C = problem.H * problem.D;
  std::vector<T> values;
  for (int64_t i = 0; i < problem.tokens() * C; ++i) {
    values.push_back(packed[i / C * 3 * C + part * C + i % C]);
  }
  return values;
}

template <typename T>
std::vector<T> Copy(const PoisonedBuffer<T>& buffer) {
  return {buffer.values().begin(), buffer.values().end()};
}

// Sizes and what both directions read.
template <typename Args, typename T>
void SetShared(Args& args, const AttentionProblem& problem, const AttentionInputs& inputs,
               const BackendVector<T>& packed, const BackendVector<float>& gate,
               const BackendVector<int32_t>& lengths) {
  const int64_t C = problem.H * problem.D;
  args.q = packed.data();
  args.k = packed.data() + C;
  args.v = packed.data() + 2 * C;
  args.gate = problem.site == GateSite::kNone ? nullptr : gate.data();
  args.B = problem.B;
  args.T_ = problem.T;
  args.H = problem.H;
  args.D = problem.D;
  args.qkv_stride = 3 * C;
  args.scale = static_cast<float>(inputs.scale);
  args.gate_site = problem.site;
  args.gate_per_channel = problem.per_channel;
  args.mask = {.causal = problem.causal, .lengths = lengths.empty() ? nullptr : lengths.data()};
}

template <typename T>
AttentionResults<T> CudnnAttentionTest::Run(const AttentionProblem& problem,
                                            const AttentionInputs& inputs) {
  const int64_t C = problem.H * problem.D;
  const auto packed = Pack<T>(problem, inputs);
  const auto gate = OnBackend(testing::Cast<float>(inputs.gate));
  const auto dout = OnBackend(testing::Cast<T>(inputs.dout));
  const auto lengths = OnBackend(problem.lengths);
  PoisonedBuffer<T> out(problem.tokens() * C), ungated(problem.tokens() * C);
  PoisonedBuffer<T> dpacked(problem.tokens() * 3 * C);
  PoisonedBuffer<float> log_sum_exp(problem.tokens() * problem.H), dgate(problem.gates());
  const bool saves = problem.site == GateSite::kQuery;

  AttentionForwardArgs<T> forward = {};
  SetShared(forward, problem, inputs, packed, gate, lengths);
  forward.out = out.data();
  forward.log_sum_exp = log_sum_exp.data();
  const auto forward_bytes = cuda::CudnnWorkspaceBytes(cudnn_, forward);
  EXPECT_TRUE(forward_bytes.ok()) << forward_bytes.status();
  PoisonedBuffer<float> forward_workspace(forward_bytes.value_or(0) / 4);
  forward.workspace = forward_workspace.data();
  T* saved = saves ? ungated.data() : out.data();
  absl::Status status = RunOnBackend([&](cuda::Stream stream) {
    return cuda::CudnnAttentionForward<T>(cudnn_, forward, saved, stream);
  });
  EXPECT_TRUE(status.ok()) << status;

  AttentionBackwardArgs<T> backward = {};
  SetShared(backward, problem, inputs, packed, gate, lengths);
  backward.log_sum_exp = log_sum_exp.data();
  backward.dout = dout.data();
  backward.dq = dpacked.data();
  backward.dk = dpacked.data() + C;
  backward.dv = dpacked.data() + 2 * C;
  backward.dgate = problem.site == GateSite::kNone ? nullptr : dgate.data();
  const auto backward_bytes = cuda::CudnnWorkspaceBytes(cudnn_, backward);
  EXPECT_TRUE(backward_bytes.ok()) << backward_bytes.status();
  PoisonedBuffer<float> backward_workspace(backward_bytes.value_or(0) / 4);
  backward.workspace = backward_workspace.data();
  status = RunOnBackend([&](cuda::Stream stream) {
    return cuda::CudnnAttentionBackward<T>(cudnn_, backward, saved, stream);
  });
  EXPECT_TRUE(status.ok()) << status;

  for (const auto* buffer : {&out, &dpacked}) buffer->ExpectCanariesIntact();
  for (const auto* buffer : {&log_sum_exp, &dgate, &forward_workspace, &backward_workspace}) {
    buffer->ExpectCanariesIntact();
  }
  AttentionResults<T> results = {.out = Copy(out),
                                 .dq = Unpack(problem, dpacked, 0),
                                 .dk = Unpack(problem, dpacked, 1),
                                 .dv = Unpack(problem, dpacked, 2),
                                 .log_sum_exp = Copy(log_sum_exp),
                                 .dgate = {},
                                 .dsink_logit = testing::Cast<float>(inputs.dsink_logit),
                                 .dsink_key = testing::Cast<float>(inputs.dsink_key),
                                 .dsink_value = testing::Cast<float>(inputs.dsink_value)};
  if (problem.site != GateSite::kNone) results.dgate = Copy(dgate);
  for (size_t i = 0; i < results.log_sum_exp.size(); ++i) {  // of padding: not defined
    const auto row = static_cast<int64_t>(i);
    const int64_t b = row / (problem.H * problem.T);
    if (!problem.lengths.empty() && row % problem.T >= problem.lengths[b]) {
      results.log_sum_exp[i] = -std::numeric_limits<float>::infinity();
    }
  }
  return results;
}

constexpr GateSite kSites[] = {GateSite::kNone, GateSite::kQuery, GateSite::kKey};

TEST_F(CudnnAttentionTest, EverySequenceLengthAroundTheTiles) {
  uint64_t seed = 100;
  for (const int64_t T : {2, 3, 7, 16, 17, 63, 64, 65, 127, 128, 129}) {
    for (const bool causal : {false, true}) {
      ExpectBothTypes(
          {.B = 1, .T = T, .H = 2, .D = 32, .site = kSites[++seed % 3], .causal = causal}, seed);
    }
  }
}

TEST_F(CudnnAttentionTest, EveryHeadSize) {
  uint64_t seed = 200;
  for (const int64_t D : {8, 16, 24, 32, 64, 80, 96, 128, 200, 256}) {
    for (const GateSite site : kSites) {
      ExpectBothTypes({.B = 1, .T = 21, .H = 2, .D = D, .site = site, .causal = D % 16 == 0},
                      ++seed);
    }
  }
}

TEST_F(CudnnAttentionTest, EveryGateByEveryMask) {
  uint64_t seed = 300;
  for (const GateSite site : kSites) {
    for (const bool per_channel : {false, true}) {
      if (per_channel && site == GateSite::kNone) continue;
      for (const bool causal : {false, true}) {
        AttentionProblem problem = {
            .B = 3, .T = 35, .H = 3, .D = 40, .site = site, .causal = causal};
        problem.per_channel = per_channel;
        ExpectBothTypes(problem, ++seed);
        problem.lengths = {35, 1, 17};
        ExpectBothTypes(problem, ++seed);
        problem.lengths = {0, 34, 35};
        ExpectBothTypes(problem, ++seed);
      }
    }
  }
}

// The plans are made once for each shape, and give the same bits every time.
TEST_F(CudnnAttentionTest, TheSameAgainIsTheSameBits) {
  const AttentionProblem problem = {
      .B = 2, .T = 40, .H = 2, .D = 64, .site = GateSite::kQuery, .causal = true};
  const AttentionInputs inputs = AttentionInputs::Make<bf16>(problem, 400);
  testing::ExpectSameResults(Run<bf16>(problem, inputs), Run<bf16>(problem, inputs));
}

// Gates of 0: nothing passes, and nothing is divided by them.
TEST_F(CudnnAttentionTest, AShutGatePassesNothingButItsOwnGradient) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    const AttentionProblem problem = {.B = 1, .T = 20, .H = 2, .D = 16, .site = site};
    AttentionInputs inputs = AttentionInputs::Make<bf16>(problem, 500);
    inputs.gate.assign(inputs.gate.size(), 0.0);
    const auto results = Run<bf16>(problem, inputs);
    for (const bf16 value : results.out) ASSERT_EQ(static_cast<float>(value), 0.0f);
    double size = 0;
    for (const float value : results.dgate) size += std::abs(value);
    EXPECT_GT(size, 0.1);
    testing::ExpectAttentionClose(problem, inputs, results,
                                  testing::RunAttention<double>(problem, inputs), 2);
  }
}

}  // namespace
}  // namespace sluice
