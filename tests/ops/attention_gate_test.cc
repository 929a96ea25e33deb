// The gate a channel: projection, logistic function and their backward, whole and in blocks, from a
// column range. fp64 by finite differences; fp32 and bf16 against it.
#include "ops/attention_gate.h"

#include <vector>

#include "gtest/gtest.h"
#include "ops/tensor_arena.h"
#include "support/compare.h"
#include "support/finite_difference.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::FillTensor;
using testing::RandomValues;
using testing::TensorValues;
using testing::Tolerance;
using testing::UnitRoundoff;

struct ChannelGateProblem {
  int64_t N, H, D;
  bool per_head_slice, bias;
  GateCurve<double> curve = {};

  int64_t C() const { return H * D; }
  int64_t features() const { return per_head_slice ? D : C(); }  // that a gate reads
};

// What goes in and, after Run, what comes out. Gradients of parameters start at 1, dsource too: all
// three are added to.
struct ChannelGateValues {
  std::vector<double> source, weight, bias, dgate;
  std::vector<double> gate, dsource, dweight, dbias;
};

ChannelGateValues RandomInputs(const ChannelGateProblem& p, uint64_t seed) {
  // Exact in bf16, so that every type computes with the same numbers.
  const auto random = [&](int64_t count) {
    return testing::Widen(testing::Cast<bf16>(RandomValues(count, ++seed)));
  };
  ChannelGateValues values;
  values.source = random(p.N * p.C());
  values.weight = random(p.C() * p.features());
  values.bias = random(p.C());
  values.dgate = random(p.N * p.C());
  return values;
}

template <typename T>
void RunChannelGate(const ChannelGateProblem& p, ChannelGateValues& values) {
  const DType dtype = DTypeOf<T>(), kept = DTypeOf<Accumulator<T>>();
  const int64_t N = p.N, C = p.C();
  const auto device = Device::OpenCpu();
  Arena arena;
  ExecutionContext context(*device);
  const auto reserve = [&](DType type, const Shape& shape) {
    return arena.Reserve("tensor", MemoryPurpose::kScratch, type, shape);
  };
  const TensorView* qkv = reserve(dtype, {N, 3 * C});
  const TensorView* dqkv = reserve(dtype, {N, 3 * C});
  const TensorView* weight = reserve(dtype, {C, p.features()});
  const TensorView* bias = reserve(dtype, {C});
  const TensorView* dweight = reserve(kept, {C, p.features()});
  const TensorView* dbias = reserve(kept, {C});
  const TensorView* gate = reserve(kept, {N, C});
  const TensorView* dgate = reserve(kept, {N, C});
  ops::ChannelGate channel_gate;
  channel_gate.Plan(context, arena, "gate", dtype, {N, p.H, p.D, p.per_head_slice, p.curve},
                    /*train=*/true);
  context.ReserveWorkspace(arena);
  ASSERT_TRUE(arena.Allocate(ArenaFill::kPoison, *device).ok());
  const TensorView source = qkv->Columns(2 * C, C), dsource = dqkv->Columns(2 * C, C);
  FillTensor(source, values.source);
  FillTensor(*weight, values.weight);
  FillTensor(*bias, values.bias);
  FillTensor(*dgate, values.dgate);
  for (const TensorView& start : {dsource, *dweight, *dbias}) {
    FillTensor(start, std::vector<double>(static_cast<size_t>(start.elements()), 1.0));
  }
  channel_gate.Bind({.weight = *weight,
                     .bias = p.bias ? *bias : TensorView(),
                     .weight_gradient = *dweight,
                     .bias_gradient = p.bias ? *dbias : TensorView()});
  ASSERT_TRUE(channel_gate.Forward(context, source, *gate).ok());
  ASSERT_TRUE(
      channel_gate
          .Backward(context, {.source = source, .gate = *gate, .dgate = *dgate, .dsource = dsource})
          .ok());
  values.gate = TensorValues(*gate);
  values.dsource = TensorValues(dsource);
  values.dweight = TensorValues(*dweight);
  values.dbias = TensorValues(*dbias);
}

std::vector<double> Minus(std::vector<double> values, double start) {
  for (double& value : values) value -= start;
  return values;
}

TEST(ChannelGateTest, GradientsAreTheDerivatives) {
  for (const bool per_head_slice : {false, true}) {
    const ChannelGateProblem p = {.N = 3,
                                  .H = 2,
                                  .D = 3,
                                  .per_head_slice = per_head_slice,
                                  .bias = true,
                                  .curve = {.steepness = 2, .scale = per_head_slice ? 1.5 : 1}};
    ChannelGateValues values = RandomInputs(p, 1);
    RunChannelGate<double>(p, values);
    const ChannelGateValues results = values;
    const auto loss = [&] {
      RunChannelGate<double>(p, values);
      double sum = 0;
      for (size_t i = 0; i < values.gate.size(); ++i) sum += values.gate[i] * values.dgate[i];
      return sum;
    };
    testing::ExpectGradient("dsource", values.source, Minus(results.dsource, 1), loss);
    testing::ExpectGradient("dweight", values.weight, Minus(results.dweight, 1), loss);
    testing::ExpectGradient("dbias", values.bias, Minus(results.dbias, 1), loss);
  }
}

// A gate reads its own head only, or all.
TEST(ChannelGateTest, ReadsWhatItShould) {
  for (const bool per_head_slice : {false, true}) {
    const ChannelGateProblem p = {
        .N = 1, .H = 2, .D = 2, .per_head_slice = per_head_slice, .bias = false};
    ChannelGateValues values = RandomInputs(p, 20);
    values.source = {0, 0, 4, 4};  // head 1's features
    values.weight.assign(values.weight.size(), 2.0);
    RunChannelGate<double>(p, values);
    EXPECT_NEAR(values.gate[0], per_head_slice ? 0.5 : 1, 1e-6);
    EXPECT_NEAR(values.gate[3], 1, 1e-6);
  }
}

template <typename T>
void ExpectCloseToDouble(const ChannelGateProblem& p, uint64_t seed) {
  ChannelGateValues expected = RandomInputs(p, seed), actual = expected;
  RunChannelGate<double>(p, expected);
  RunChannelGate<T>(p, actual);
  const auto n = static_cast<double>(p.N), features = static_cast<double>(p.features());
  const double kept = UnitRoundoff<float>(), stored = UnitRoundoff<T>();
  const auto bound = [](double absolute, double relative, const char* derivation) {
    return Tolerance{.absolute = absolute, .relative = relative, .derivation = derivation};
  };
  // Factors are at most 1, a slope of the logistic function at most 1/4.
  const double logit = (features + 1) * (features + 1) * kept;
  const std::string name = std::is_same_v<T, bf16> ? "bf16 " : "float ";
  ExpectClose(name + "gate", actual.gate, expected.gate,
              bound(logit / 4, 5e-7, "error of the logit · slope + logistic function"));
  const double dlogit = logit / 4 + 4 * kept + stored / 4;  // rounded to T for the products
  ExpectClose(name + "dsource", actual.dsource, expected.dsource,
              bound(features * (dlogit + (features + 1) * kept / 4), stored,
                    "features · error of the logit's gradient + sum"));
  ExpectClose(name + "dweight", actual.dweight, expected.dweight,
              bound(n * (dlogit + (n + 1) * kept / 4) + 2 * kept, kept,
                    "N · error of the logit's gradient + sum"));
  if (!p.bias) return;
  ExpectClose(name + "dbias", actual.dbias, expected.dbias,
              bound(n * (dlogit + (n + 1) * kept / 4) + 2 * kept, kept,
                    "N · error of the logit's gradient + sum"));
}

TEST(ChannelGateTest, FloatAndBf16AreCloseToDouble) {
  uint64_t seed = 100;
  for (const bool per_head_slice : {false, true}) {
    for (const int64_t N : {1, 7, 40}) {
      const ChannelGateProblem p = {
          .N = N, .H = 3, .D = 16, .per_head_slice = per_head_slice, .bias = N != 7};
      ExpectCloseToDouble<float>(p, seed += 10);
      ExpectCloseToDouble<bf16>(p, seed += 10);
    }
  }
}

// From 64 features on, products for the weight's gradient pack what they read into the workspace,
// in which the gradients of the logits lie as well.
TEST(ChannelGateTest, LargeOnesAreCloseToDoubleToo) {
  uint64_t seed = 300;
  for (const bool per_head_slice : {false, true}) {
    for (const int64_t N : {1, 70}) {
      const ChannelGateProblem p = {
          .N = N, .H = 3, .D = 72, .per_head_slice = per_head_slice, .bias = true};
      ExpectCloseToDouble<float>(p, seed += 10);
      ExpectCloseToDouble<bf16>(p, seed += 10);
    }
  }
}

}  // namespace
}  // namespace sluice
