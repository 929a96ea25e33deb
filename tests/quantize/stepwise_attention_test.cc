// Attention in steps that nobody changes is attention: against the reference, every variant.
#include "quantize/stepwise_attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/api/attention.h"
#include "support/compare.h"

namespace sluice {
namespace {

constexpr int64_t kB = 3, kT = 9, kH = 2, kD = 8, kC = kH * kD, kN = kB * kT;

struct Case {
  std::string name;
  ops::AttentionVariant variant;
  bool causal = false, lengths = false, documents = false;
};

std::vector<Case> Cases() {
  using ops::GateGranularity;
  return {{"vanilla", {}},
          {"causal", {}, true},
          {"padding", {}, false, true},
          {"documents", {}, true, false, true},
          {"query gate", {.gate_site = GateSite::kQuery}, true},
          {"key gate", {.gate_site = GateSite::kKey}},
          {"channel gate",
           {.gate_site = GateSite::kQuery, .gate_granularity = GateGranularity::kChannel}},
          {"channel gate at keys",
           {.gate_site = GateSite::kKey, .gate_granularity = GateGranularity::kChannel},
           true},
          {"clipped", {.clip = {.gamma = -0.1f, .zeta = 1.1f}}, true},
          {"without a softmax", {.weights = AttentionWeights::kRelu}, true, true, true},
          {"sink logit", {.sink = SoftmaxSink::kLogit}, true, true},
          {"softmax plus one", {.sink = SoftmaxSink::kZero}},
          {"sink token", {.gate_site = GateSite::kKey, .sink_token = true}, true, true},
          {"registers", {.registers = 2}, true, false, true}};
}

// Values in fp32, and the same in double.
struct Numbers {
  Numbers(int64_t count, uint64_t seed, double low = -1, double high = 1)
      : narrow(testing::Cast<float>(testing::RandomValues(count, seed, low, high))),
        wide(testing::Widen(narrow)) {}
  std::vector<float> narrow;
  std::vector<double> wide;
};

struct Problem {
  Numbers qkv{kN * 3 * kC, 1}, gate{kN * kC, 2, 0, 1}, logit{kH, 3}, key{kC, 4}, value{kC, 5};
  std::vector<int32_t> lengths = {kT, 4, 7};
  std::vector<int32_t> documents;
  Problem() {
    for (int64_t n = 0; n < kN; ++n) documents.push_back(n % kT >= 5);
  }
  AttentionMask Mask(const Case& one) const {
    return {.causal = one.causal,
            .lengths = one.lengths ? lengths.data() : nullptr,
            .documents = one.documents ? documents.data() : nullptr,
            .registers = one.variant.registers};
  }
};

std::vector<double> Reference(const Problem& problem, const Case& one) {
  std::vector<double> out(kN * kC);
  const ops::AttentionVariant& variant = one.variant;
  reference::AttentionForward(
      {.q = problem.qkv.wide.data(),
       .k = problem.qkv.wide.data() + kC,
       .v = problem.qkv.wide.data() + 2 * kC,
       .gate = variant.gated() ? problem.gate.wide.data() : nullptr,
       .out = out.data(),
       .log_sum_exp = nullptr,
       .B = kB,
       .T_ = kT,
       .H = kH,
       .D = kD,
       .qkv_stride = 3 * kC,
       .scale = 1 / std::sqrt(static_cast<double>(kD)),
       .gate_site = variant.gate_site,
       .gate_per_channel = variant.gate_per_channel(),
       .weights = variant.weights,
       .clip = variant.clip,
       .sink = variant.sink,
       .sink_logit = variant.sink == SoftmaxSink::kLogit ? problem.logit.wide.data() : nullptr,
       .sink_key = variant.sink_token ? problem.key.wide.data() : nullptr,
       .sink_value = variant.sink_token ? problem.value.wide.data() : nullptr,
       .mask = problem.Mask(one),
       .dropout = {},
       .workspace = nullptr});
  return out;
}

struct Calls {
  int scores = 0, probabilities = 0, context = 0;
  double largest_row = 0;
};

std::vector<float> Stepwise(Problem& problem, const Case& one, int64_t together, Calls& calls) {
  std::vector<float> out(kN * kC);
  const int64_t gates = one.variant.gate_per_channel() ? kC : kH;
  const TensorView qkv = TensorView::Of(problem.qkv.narrow.data(), {kN, 3 * kC});
  const ObservedAttention attention = {
      .B = kB,
      .T = kT,
      .H = kH,
      .D = kD,
      .qkv = qkv,
      .gate = one.variant.gated() ? TensorView::Of(problem.gate.narrow.data(), {kN, gates})
                                  : TensorView(),
      .sink_logit = TensorView::Of(problem.logit.narrow.data(), {kH}),
      .sink_key = TensorView::Of(problem.key.narrow.data(), {kH, kD}),
      .sink_value = TensorView::Of(problem.value.narrow.data(), {kH, kD}),
      .variant = one.variant,
      .mask = problem.Mask(one),
      .context = TensorView::Of(out.data(), {kN, kC})};
  StepwiseAttention stepwise;
  stepwise.Run(attention, qkv.Columns(2 * kC, kC), together,
               {.scores = [&](const TensorView&) { ++calls.scores; },
                .probabilities =
                    [&](const TensorView& rows) {
                      ++calls.probabilities;
                      for (int64_t row = 0; row < rows.rows(); ++row) {
                        double sum = 0;
                        for (int64_t key = 0; key < rows.dim(-1); ++key) {
                          sum += rows.as<float>()[row * rows.dim(-1) + key];
                        }
                        calls.largest_row = std::max(calls.largest_row, sum);
                      }
                    },
                .context = [&](const TensorView&) { ++calls.context; }});
  return out;
}

TEST(StepwiseAttentionTest, IsTheReference) {
  Problem problem;
  // A score is a sum of D terms that add up to at most D / sqrt(D), and one more product: its error
  // is that of exp, twice (over the sum); the sum and the mean over values add T terms of at
  // most 1.
  const double u = testing::UnitRoundoff<float>();
  const double scores = 2 * (kD + 2) * u * std::sqrt(static_cast<double>(kD));
  const testing::Tolerance tolerance = {
      .absolute = 1.2 * (scores + 3 * (kT + 4) * u),
      .relative = 4 * u,
      .zeros_expected = true,
      .derivation = "errors of scores through exp, sums of T terms, clipping's factor 1.2"};
  for (const Case& one : Cases()) {
    SCOPED_TRACE(one.name);
    const std::vector<double> expected = Reference(problem, one);
    for (const int64_t together : {int64_t{1}, int64_t{2}, kB}) {
      Calls calls;
      testing::ExpectClose(one.name, Stepwise(problem, one, together, calls), expected, tolerance);
      const int turns = static_cast<int>((kB + together - 1) / together);
      EXPECT_EQ(calls.scores, turns);
      EXPECT_EQ(calls.probabilities, turns);
      EXPECT_EQ(calls.context, turns);
      if (!one.variant.clip.enabled() && one.variant.weights == AttentionWeights::kSoftmax) {
        EXPECT_LT(calls.largest_row, 1 + 1e-5);
      }
    }
  }
}

// What a step changes is what the next one reads: probabilities of zero leave nothing.
TEST(StepwiseAttentionTest, StepsChangeWhatFollows) {
  Problem problem;
  std::vector<float> out(kN * kC, 1.0f);
  const TensorView qkv = TensorView::Of(problem.qkv.narrow.data(), {kN, 3 * kC});
  const ops::AttentionVariant vanilla;
  const ObservedAttention attention = {.B = kB,
                                       .T = kT,
                                       .H = kH,
                                       .D = kD,
                                       .qkv = qkv,
                                       .gate = {},
                                       .sink_logit = {},
                                       .sink_key = {},
                                       .sink_value = {},
                                       .variant = vanilla,
                                       .mask = {},
                                       .context = TensorView::Of(out.data(), {kN, kC})};
  bool even = true;
  StepwiseAttention().Run(
      attention, qkv.Columns(2 * kC, kC), kB,
      {.scores =
           [](const TensorView& rows) { std::fill_n(rows.as<float>(), rows.elements(), 2.0f); },
       .probabilities =
           [&](const TensorView& rows) {
             for (int64_t i = 0; i < rows.elements(); ++i) {
               even = even && std::abs(rows.as<float>()[i] - 1.0f / kT) < 1e-6f;
             }
             std::fill_n(rows.as<float>(), rows.elements(), 0.0f);
           },
       .context = nullptr});
  EXPECT_TRUE(even);
  EXPECT_EQ(out, std::vector<float>(kN * kC, 0.0f));
}

}  // namespace
}  // namespace sluice
