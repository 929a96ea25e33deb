// Negative controls: settings under which a variant must be plain attention, or another variant, to
// the bit where the arithmetic is the same and to rounding where it is not.
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "kernels/attention_problem.h"
#include "kernels/attention_sameness.h"
#include "kernels/attention_tolerance.h"

namespace sluice {
namespace {

using testing::AttentionInputs;
using testing::AttentionProblem;
using testing::Documents;
using testing::ExpectAttentionClose;
using testing::ExpectSameResults;
using testing::RunAttention;

AttentionProblem Plain(float dropout) {
  return {.B = 2, .T = 70, .H = 2, .D = 40, .dropout = dropout};
}

TEST(AttentionControlsTest, AnOpenGatePerChannelIsVanillaToTheBit) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    for (const float dropout : {0.0f, 0.1f}) {
      AttentionProblem problem = Plain(dropout);
      const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 1);
      auto vanilla = RunAttention<float>(problem, inputs);
      problem.site = site;
      problem.per_channel = true;
      AttentionInputs open = inputs;
      open.gate.assign(problem.gates(), 1.0);
      const auto gated = RunAttention<float>(problem, open);
      vanilla.dgate = gated.dgate;  // the one result that vanilla lacks
      ExpectSameResults(gated, vanilla);
    }
  }
}

TEST(AttentionControlsTest, EqualGatesOfAllChannelsAreAGatePerHead) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    AttentionProblem problem = Plain(0.1f);
    problem.site = site;
    const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 2);
    const auto expected = RunAttention<double>(problem, inputs);
    AttentionProblem per_channel = problem;
    per_channel.per_channel = true;
    AttentionInputs spread = inputs;
    spread.gate.clear();
    for (const double gate : inputs.gate) spread.gate.insert(spread.gate.end(), problem.D, gate);
    auto actual = RunAttention<float>(per_channel, spread);
    std::vector<float> sums;
    for (size_t i = 0; i < actual.dgate.size(); i += static_cast<size_t>(problem.D)) {
      double sum = 0;
      for (int64_t d = 0; d < problem.D; ++d) sum += actual.dgate[i + static_cast<size_t>(d)];
      sums.push_back(static_cast<float>(sum));
    }
    actual.dgate = sums;
    ExpectAttentionClose(problem, inputs, actual, expected);
  }
}

TEST(AttentionControlsTest, AVeryNegativeSinkLogitIsVanillaToTheBit) {
  for (const float dropout : {0.0f, 0.1f}) {
    AttentionProblem problem = Plain(dropout);
    AttentionInputs inputs = AttentionInputs::Make<float>(problem, 3);
    AttentionInputs inputs16 = AttentionInputs::Make<bf16>(problem, 4);
    inputs.sink_logit.assign(inputs.sink_logit.size(), -1e30f);
    inputs16.sink_logit.assign(inputs.sink_logit.size(), -1e30f);
    const auto vanilla = RunAttention<float>(problem, inputs);
    const auto vanilla16 = RunAttention<bf16>(problem, inputs16);
    problem.sink = SoftmaxSink::kLogit;
    ExpectSameResults(RunAttention<float>(problem, inputs), vanilla);
    ExpectSameResults(RunAttention<bf16>(problem, inputs16), vanilla16);
  }
}

TEST(AttentionControlsTest, SoftmaxPlusOneIsASinkLogitOfZeroToTheBit) {
  AttentionProblem problem = Plain(0.1f);
  problem.site = GateSite::kQuery;
  AttentionInputs inputs = AttentionInputs::Make<float>(problem, 5);
  inputs.sink_logit.assign(inputs.sink_logit.size(), 0.0);
  problem.sink = SoftmaxSink::kZero;
  const auto plus_one = RunAttention<float>(problem, inputs);
  problem.sink = SoftmaxSink::kLogit;
  auto logit = RunAttention<float>(problem, inputs);
  EXPECT_NE(logit.dsink_logit, plus_one.dsink_logit);  // learned, and not
  logit.dsink_logit = plus_one.dsink_logit;
  ExpectSameResults(logit, plus_one);
}

// A sink token with a zero key has score 0, and with a zero value adds nothing: softmax plus one.
TEST(AttentionControlsTest, AZeroSinkTokenIsSoftmaxPlusOne) {
  AttentionProblem problem = Plain(0);
  problem.site = GateSite::kKey;
  problem.sink = SoftmaxSink::kZero;
  AttentionInputs inputs = AttentionInputs::Make<float>(problem, 6);
  const auto expected = RunAttention<double>(problem, inputs);
  problem.sink = SoftmaxSink::kNone;
  problem.sink_token = true;
  inputs.sink_key.assign(inputs.sink_key.size(), 0.0);
  inputs.sink_value.assign(inputs.sink_value.size(), 0.0);
  auto actual = RunAttention<float>(problem, inputs);
  actual.dsink_key.assign(inputs.dsink_key.begin(), inputs.dsink_key.end());
  actual.dsink_value.assign(inputs.dsink_value.begin(), inputs.dsink_value.end());
  ExpectAttentionClose(problem, inputs, actual, expected);
}

TEST(AttentionControlsTest, AClipThatClipsNothingIsVanilla) {
  for (const float dropout : {0.0f, 0.1f}) {
    AttentionProblem problem = Plain(dropout);
    problem.site = GateSite::kQuery;
    const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 7);
    const auto expected = RunAttention<double>(problem, inputs);
    const auto vanilla = RunAttention<float>(problem, inputs);
    problem.clip = {.gamma = 0, .zeta = 1};
    ExpectSameResults(RunAttention<float>(problem, inputs), vanilla);
    problem.clip = {.gamma = -1e-30f, .zeta = 1};  // goes through the clip, which changes nothing
    ASSERT_TRUE(problem.clip.enabled());
    ExpectAttentionClose(problem, inputs, RunAttention<float>(problem, inputs), expected);
  }
}

// Without documents registers are ordinary tokens of a row that sees all of itself, and the first
// token of a causal row sees only itself anyway.
TEST(AttentionControlsTest, RegistersThatSeeAsOthersDoAreVanillaToTheBit) {
  for (const bool causal : {false, true}) {
    AttentionProblem problem = Plain(0.1f);
    problem.causal = causal;
    problem.lengths = {70, 33};
    const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 8);
    const auto vanilla = RunAttention<float>(problem, inputs);
    problem.registers = causal ? 1 : 5;
    ExpectSameResults(RunAttention<float>(problem, inputs), vanilla);
  }
}

// One document and a register: ordinary queries see what they saw, in two pieces.
TEST(AttentionControlsTest, OneDocumentWithARegisterIsVanillaForOrdinaryQueries) {
  AttentionProblem problem = Plain(0.1f);
  const AttentionInputs inputs = AttentionInputs::Make<float>(problem, 9);
  const auto vanilla = RunAttention<double>(problem, inputs);
  problem.registers = 1;
  problem.documents = Documents(2, 70, {70});
  const auto actual = RunAttention<double>(problem, inputs);
  for (int64_t token = 0; token < problem.tokens(); ++token) {
    if (token % 70 == 0) continue;
    for (auto at = static_cast<size_t>(token * 80); at < static_cast<size_t>(token * 80 + 80);
         ++at) {
      EXPECT_NEAR(actual.out[at], vanilla.out[at], 1e-14);
    }
  }
  EXPECT_GT(std::abs(actual.out[0] - vanilla.out[0]), 1e-3);  // the register sees only itself
}

}  // namespace
}  // namespace sluice
