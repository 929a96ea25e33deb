// The reference of the attention variants judged by calculus, in double: finite differences by
// every input, for registers, sinks, clipping and gates per channel, alone and together, under
// every mask.
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "kernels/attention_kinks.h"
#include "kernels/attention_problem.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::ExpectClose;
using testing::RunAttention;
using testing::Tolerance;

constexpr double kStep = 0x1p-12;
// An input changes by at most 2 kStep, a score then by 2 kStep · 2 · scale, and the argument of the
// clip by at most that, times zeta - gamma < 1.2.
constexpr double kKinkDistance = 2 * kStep * 2 * 1.2;

double Loss(const AttentionProblem& problem, const AttentionInputs& inputs) {
  const auto out = testing::AttentionRun<double>(problem, inputs).Out();
  double loss = 0;
  for (size_t i = 0; i < out.size(); ++i) loss += out[i] * inputs.dout[i];
  return loss;
}

// ∂loss / ∂values by the five-point formula: error h⁴ / 30 · fifth derivative.
std::vector<double> FiniteDifferences(const AttentionProblem& problem, AttentionInputs inputs,
                                      std::vector<double> AttentionInputs::*values) {
  std::vector<double> gradient;
  for (double& value : inputs.*values) {
    const double at = value;
    const auto loss_at = [&](double offset) {
      value = at + offset;
      return Loss(problem, inputs);
    };
    const double near = loss_at(kStep) - loss_at(-kStep);
    const double far = loss_at(2 * kStep) - loss_at(-2 * kStep);
    gradient.push_back((8 * near - far) / (12 * kStep));
    value = at;
  }
  return gradient;
}

void ExpectGradientsAreTheDerivatives(const AttentionProblem& problem, uint64_t seed) {
  SCOPED_TRACE(problem.Name());
  AttentionInputs inputs =
      testing::MakeAwayFromKinks<double>(problem, seed, kKinkDistance, /*relative=*/0);
  // What is added to starts at a value that would show if it were overwritten.
  for (auto* start : {&inputs.dsink_logit, &inputs.dsink_key, &inputs.dsink_value}) {
    start->assign(start->size(), 2.0);
  }
  const auto results = RunAttention<double>(problem, inputs);
  // Rounding of a loss of size about 30 over the step: 30 · 2^-53 / 2^-12 · 18 / 12 = 2e-11;
  // truncation h⁴ / 30 = 1e-16 times a fifth derivative.
  const Tolerance tolerance = {.absolute = 8e-11,
                               .relative = 0,
                               .zeros_expected = true,
                               .derivation = "h⁴/30 · fifth derivative + loss · 2^-53 / h"};
  const auto expect = [&](const char* name, std::vector<double> gradient,
                          std::vector<double> AttentionInputs::*values, double start) {
    for (double& value : gradient) value -= start;
    ExpectClose(problem.Name() + name, gradient, FiniteDifferences(problem, inputs, values),
                tolerance);
  };
  expect(" dq", results.dq, &AttentionInputs::q, 0);
  expect(" dk", results.dk, &AttentionInputs::k, 0);
  expect(" dv", results.dv, &AttentionInputs::v, 0);
  if (problem.site != GateSite::kNone) expect(" dgate", results.dgate, &AttentionInputs::gate, 0);
  // Without a sink its inputs are not read, and nothing is added.
  expect(" dsink_logit", results.dsink_logit, &AttentionInputs::sink_logit, 2);
  expect(" dsink_key", results.dsink_key, &AttentionInputs::sink_key, 2);
  expect(" dsink_value", results.dsink_value, &AttentionInputs::sink_value, 2);
}

constexpr ClippedSoftmax kClip = {.gamma = -0.06f, .zeta = 1.1f};

AttentionProblem Masked(AttentionProblem problem, int masks) {
  problem.B = 2;
  problem.T = 5;
  problem.H = 2;
  problem.D = 2;
  problem.causal = (masks & 1) != 0;
  if ((masks & 2) != 0) problem.lengths = {5, 4};
  if ((masks & 4) != 0) problem.documents = {1, 1, 1, 2, 2, 7, 7, 7, 7, 8};
  problem.dropout = (masks & 8) != 0 ? 0.3f : 0;
  return problem;
}

TEST(AttentionVariantGradientsTest, EachAloneUnderEveryMask) {
  const AttentionProblem variants[] = {
      {.registers = 2},
      {.sink = SoftmaxSink::kZero},
      {.sink = SoftmaxSink::kLogit},
      {.sink_token = true},
      {.clip = kClip},
      {.clip = {.gamma = -0.06f, .zeta = 1}},
      {.clip = {.gamma = 0, .zeta = 1.1f}},
      {.weights = AttentionWeights::kRelu},
      {.site = GateSite::kQuery, .per_channel = true},
      {.site = GateSite::kKey, .per_channel = true},
  };
  uint64_t seed = 10;
  for (const AttentionProblem& variant : variants) {
    for (int masks = 0; masks < 16; ++masks) {
      ExpectGradientsAreTheDerivatives(Masked(variant, masks), seed += 100);
    }
  }
}

// Every combination of the parts, the masks going round.
TEST(AttentionVariantGradientsTest, AllTogether) {
  uint64_t seed = 20'000;
  int masks = 0;
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (const SoftmaxSink sink : {SoftmaxSink::kNone, SoftmaxSink::kZero, SoftmaxSink::kLogit}) {
      for (int parts = 0; parts < 16; ++parts) {
        const AttentionProblem variant = {.site = site,
                                          .per_channel = (parts & 1) != 0,
                                          .clip = (parts & 2) != 0 ? kClip : ClippedSoftmax{},
                                          .sink = sink,
                                          .sink_token = (parts & 4) != 0,
                                          .registers = (parts & 8) != 0 ? 2 : 0};
        masks = (masks + 5) % 16;
        ExpectGradientsAreTheDerivatives(Masked(variant, masks), seed += 100);
      }
    }
  }
}

// Without a softmax, with all that it goes with.
TEST(AttentionVariantGradientsTest, RectifiedScores) {
  uint64_t seed = 60'000;
  int masks = 0;
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (int parts = 0; parts < 8; ++parts) {
      const AttentionProblem variant = {.site = site,
                                        .per_channel = (parts & 1) != 0,
                                        .weights = AttentionWeights::kRelu,
                                        .sink_token = (parts & 2) != 0,
                                        .registers = (parts & 4) != 0 ? 2 : 0};
      masks = (masks + 5) % 16;
      ExpectGradientsAreTheDerivatives(Masked(variant, masks), seed += 100);
    }
  }
}

// Three keys with scores 3, -1 and 1 and values 1, 10 and 4: (3 · 1 + 1 · 4) / 3, causal.
TEST(AttentionVariantGradientsTest, HandComputedRectifiedScores) {
  AttentionProblem problem = {.T = 3, .D = 1, .causal = true, .weights = AttentionWeights::kRelu};
  AttentionInputs inputs = AttentionInputs::Make<double>(problem, 1);
  inputs.q = {1, 1, 1};
  inputs.k = {3, -1, 1};
  inputs.v = {1, 10, 4};
  const auto results = RunAttention<double>(problem, inputs);
  EXPECT_NEAR(results.out[0], 3, 1e-15);
  EXPECT_NEAR(results.out[1], 1.5, 1e-15);
  EXPECT_NEAR(results.out[2], 7.0 / 3, 1e-15);
  EXPECT_NEAR(results.log_sum_exp[2], std::log(3.0), 1e-15);
}

// Values worked out by hand: one query, one key with score 0 and value 1.
TEST(AttentionVariantGradientsTest, HandComputedSinks) {
  AttentionProblem problem = {.D = 1};
  AttentionInputs inputs = AttentionInputs::Make<double>(problem, 1);
  inputs.q = {0};
  inputs.v = {1};
  inputs.sink_logit = {std::log(3.0)};
  inputs.sink_value = {5};
  const auto out = [&] { return RunAttention<double>(problem, inputs).out[0]; };
  problem.sink = SoftmaxSink::kZero;
  EXPECT_NEAR(out(), 0.5, 1e-15);  // 1 / (1 + 1)
  problem.sink = SoftmaxSink::kLogit;
  EXPECT_NEAR(out(), 0.25, 1e-15);  // 1 / (1 + 3)
  problem.sink_token = true;
  EXPECT_NEAR(out(), 1.2, 1e-15);  // (1 + 5) / (1 + 1 + 3)
  problem.clip = {.gamma = -0.5f, .zeta = 1.5f};
  EXPECT_NEAR(out(), 0, 1e-15);  // p = 0.2 each: 2 · 0.2 - 0.5 < 0
  problem.clip = {.gamma = -0.1f, .zeta = 1};
  EXPECT_NEAR(out(), 6 * (1.1 * 0.2 - 0.1), 1e-7);  // gamma is a float
  EXPECT_NEAR(RunAttention<double>(problem, inputs).log_sum_exp[0], std::log(5.0), 1e-15);
}

}  // namespace
}  // namespace sluice
