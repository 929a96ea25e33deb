// The gates' kernels against the reference.
#include "kernels/api/attention_gate.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/attention_sameness.h"
#include "kernels/attention_tolerance.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(AttentionGateForward, AttentionGateForwardArgs);
SLUICE_BACKEND_OP(AttentionGateBackward, AttentionGateBackwardArgs);
SLUICE_BACKEND_OP(GateSigmoidForward, GateSigmoidForwardArgs);
SLUICE_BACKEND_OP(GateSigmoidBackward, GateSigmoidBackwardArgs);

using testing::Cast;
using testing::ExpectClose;
using testing::ExpectSameBits;
using testing::PoisonedBuffer;
using testing::RandomValues;
using testing::Roundings;
using testing::Tolerance;
using testing::UnderflowError;
using testing::UnitRoundoff;
using testing::Widen;

struct GateProblem {
  int64_t N = 1, C = 1, H = 1;
  bool has_bias = true;
  int64_t source_gap = 0, dsource_gap = 0;  // elements between rows
  int64_t misalignment = 0;                 // elements
  bool per_head_slice = false;
  double steepness = 1, scale = 1;

  template <typename A>
  GateCurve<A> curve() const {
    return {static_cast<A>(steepness), static_cast<A>(scale)};
  }
  int64_t features() const { return per_head_slice ? C / H : C; }  // that a gate reads
};

template <typename T>
struct GateResults {
  std::vector<Accumulator<T>> gate, dweight, dbias;
  std::vector<T> dsource;  // with the gaps
};

struct GateInputs {
  std::vector<double> source, weight, bias, dgate, dsource, dweight, dbias;
  template <typename T>
  static GateInputs Make(const GateProblem& p, uint64_t seed) {
    const int64_t source_count = p.N * (p.C + p.source_gap);
    return {.source = Widen(Cast<T>(RandomValues(source_count, seed))),
            .weight = Widen(Cast<T>(RandomValues(p.H * p.features(), seed + 1))),
            .bias = Widen(Cast<T>(RandomValues(p.H, seed + 2))),
            .dgate = Widen(Cast<float>(RandomValues(p.N * p.H, seed + 3))),
            .dsource = Widen(Cast<T>(RandomValues(p.N * (p.C + p.dsource_gap), seed + 4))),
            .dweight = Widen(Cast<float>(RandomValues(p.H * p.features(), seed + 5))),
            .dbias = Widen(Cast<float>(RandomValues(p.H, seed + 6)))};
  }
};

template <typename V>
PoisonedBuffer<V> Filled(const std::vector<double>& values, int64_t misalignment) {
  PoisonedBuffer<V> buffer(values.size(), misalignment * static_cast<int64_t>(sizeof(V)));
  for (size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_same_v<V, double>) {
      buffer[i] = values[i];
    } else {
      buffer[i] = V(static_cast<float>(values[i]));
    }
  }
  return buffer;
}
template <typename V>
std::vector<V> ValuesOf(const PoisonedBuffer<V>& buffer) {
  buffer.ExpectCanariesIntact();
  return {buffer.values().begin(), buffer.values().end()};
}

template <typename T>
GateResults<T> RunGate(const GateProblem& p, const GateInputs& inputs) {
  using A = Accumulator<T>;
  const auto source = Filled<T>(inputs.source, p.misalignment);
  const auto weight = Filled<T>(inputs.weight, p.misalignment);
  const auto bias = Filled<T>(inputs.bias, 0);
  const auto dgate = Filled<A>(inputs.dgate, p.misalignment);
  auto dsource = Filled<T>(inputs.dsource, p.misalignment);
  auto dweight = Filled<A>(inputs.dweight, p.misalignment);
  auto dbias = Filled<A>(inputs.dbias, 0);
  PoisonedBuffer<A> gate(p.N * p.H, p.misalignment * static_cast<int64_t>(sizeof(A)));
  PoisonedBuffer<float> workspace((testing::kOnCuda
                                       ? cuda::AttentionGateBackwardWorkspaceBytes(p.N, p.C, p.H)
                                       : AttentionGateBackwardWorkspaceBytes(p.N, p.C, p.H)) /
                                  4);
  const AttentionGateForwardArgs<T> forward = {.source = source.data(),
                                               .weight = weight.data(),
                                               .bias = p.has_bias ? bias.data() : nullptr,
                                               .gate = gate.data(),
                                               .N = p.N,
                                               .C = p.C,
                                               .H = p.H,
                                               .source_stride = p.C + p.source_gap,
                                               .per_head_slice = p.per_head_slice,
                                               .curve = p.curve<A>()};
  const AttentionGateBackwardArgs<T> backward = {.source = source.data(),
                                                 .weight = weight.data(),
                                                 .gate = gate.data(),
                                                 .dgate = dgate.data(),
                                                 .dsource = dsource.data(),
                                                 .dweight = dweight.data(),
                                                 .dbias = p.has_bias ? dbias.data() : nullptr,
                                                 .workspace = workspace.data(),
                                                 .N = p.N,
                                                 .C = p.C,
                                                 .H = p.H,
                                                 .source_stride = p.C + p.source_gap,
                                                 .dsource_stride = p.C + p.dsource_gap,
                                                 .per_head_slice = p.per_head_slice,
                                                 .curve = p.curve<A>()};
  if constexpr (std::is_same_v<T, double>) {
    reference::AttentionGateForward(forward);
    reference::AttentionGateBackward(backward);
  } else {
    EXPECT_TRUE(backend::AttentionGateForward(forward).ok());
    EXPECT_TRUE(backend::AttentionGateBackward(backward).ok());
  }
  workspace.ExpectCanariesIntact();
  return {.gate = ValuesOf(gate),
          .dweight = ValuesOf(dweight),
          .dbias = ValuesOf(dbias),
          .dsource = ValuesOf(dsource)};
}

template <typename T>
const char* TypeName() {
  return std::is_same_v<T, bf16> ? "bf16" : std::is_same_v<T, fp16> ? "fp16" : "float";
}

template <typename T>
void ExpectGateMatchesReference(const GateProblem& p, uint64_t seed) {
  const std::string name = absl::StrCat(TypeName<T>(), " N", p.N, " C", p.C, " H", p.H,
                                        p.per_head_slice ? " slices" : "", " steepness ",
                                        p.steepness, " scale ", p.scale, " seed ", seed, " ");
  const GateInputs inputs = GateInputs::Make<T>(p, seed);
  const GateResults<T> actual = RunGate<T>(p, inputs);
  const GateResults<double> expected = RunGate<double>(p, inputs);
  const auto c = static_cast<double>(p.features()), n = static_cast<double>(p.N),
             h = p.per_head_slice ? 1 : static_cast<double>(p.H);
  const auto bound = [](double absolute, double relative, const char* why) {
    return Tolerance{.absolute = absolute + 1e-38,
                     .relative = relative,
                     .zeros_expected = false,
                     .derivation = why};
  };
  // All factors are at most 1; a sigmoid's slope at most 1/4, a gate's at most steepness · scale /
  // 4, and that of its slope, in the gate, at most steepness. A curve's factors round up to four
  // times.
  const double kept = UnitRoundoff<float>();
  const double slope = p.steepness * p.scale / 4;
  const double factors = p.steepness == 1 && p.scale == 1 ? 0 : 4;
  const double logit = (c + 1) * (Roundings(c + 1) + factors * kept);
  ExpectClose(name + "gate", actual.gate, expected.gate,
              bound(slope * logit, (8 + factors) * kept,
                    "error of the logit · slope + exp and division + factors"));
  const double dlogit = p.steepness * (slope * logit + p.scale * (4 + factors) * kept);
  ExpectClose(name + "dsource", actual.dsource, expected.dsource,
              bound(h * dlogit + (h * slope + 1) * Roundings(h + 1), UnitRoundoff<T>(),
                    "H · error of the logit's gradient + sum over H"));
  ExpectClose(name + "dweight", actual.dweight, expected.dweight,
              bound(n * dlogit + (n * slope + 1) * Roundings(n + 1), kept,
                    "N · error of the logit's gradient + sum over N"));
  ExpectClose(name + "dbias", actual.dbias, expected.dbias,
              bound(n * dlogit + kept, kept, "N · error of the logit's gradient"));
}

// In every type that the backend has.
void ExpectGateMatchesReference(const GateProblem& p, uint64_t seed) {
  ExpectGateMatchesReference<float>(p, seed);
  ExpectGateMatchesReference<bf16>(p, seed);
  if constexpr (testing::kOnCuda) ExpectGateMatchesReference<fp16>(p, seed);
}

TEST(AttentionGateTest, EveryShapeAroundTheTiles) {
  uint64_t seed = 1;
  for (const int64_t N : {1, 2, 3, 4, 5, 7, 17, 59, 60, 61, 130}) {
    ExpectGateMatchesReference({.N = N, .C = 48, .H = 3}, ++seed);
  }
  for (const int64_t C : {1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 768}) {
    ExpectGateMatchesReference({.N = 9, .C = C, .H = 2}, ++seed);
  }
  for (const int64_t H : {1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 33}) {
    ExpectGateMatchesReference({.N = 6, .C = 40, .H = H, .has_bias = H % 2 == 0}, ++seed);
  }
}

// CUDA's kernel on tensor cores: columns by 32, tokens and heads by 16, rows at a distance.
TEST(AttentionGateTest, EveryShapeAroundTheTilesOfTensorCores) {
  uint64_t seed = 200;
  for (const int64_t N : {1, 2, 15, 16, 17, 63, 64, 65}) {
    ExpectGateMatchesReference({.N = N, .C = 64, .H = 3}, ++seed);
  }
  for (const int64_t C : {32, 96, 128, 160, 800}) {
    ExpectGateMatchesReference({.N = 20, .C = C, .H = 5, .source_gap = 16}, ++seed);
  }
  for (const int64_t H : {1, 2, 7, 8, 9, 12, 15, 16, 17, 33}) {
    ExpectGateMatchesReference({.N = 18, .C = 64, .H = H, .has_bias = H % 2 == 0}, ++seed);
  }
}

// CUDA's backward there: rows of both sides at a distance, columns by chunks of 8 and steps of 64,
// parts of more than 16 tokens.
TEST(AttentionGateTest, EveryBackwardShapeAroundTheTilesOfTensorCores) {
  uint64_t seed = 250;
  for (const int64_t C : {8, 24, 56, 64, 72, 128, 136, 264}) {
    const GateProblem p = {.N = 21, .C = C, .H = 5, .source_gap = 24, .dsource_gap = 8};
    ExpectGateMatchesReference(p, ++seed);
  }
  for (const int64_t H : {1, 9, 16, 17, 33}) {
    ExpectGateMatchesReference({.N = 35, .C = 72, .H = H, .dsource_gap = 16}, ++seed);
  }
  for (const int64_t N : {2047, 2049, 2087}) {
    ExpectGateMatchesReference({.N = N, .C = 40, .H = 3}, ++seed);
  }
}

// Gates of exactly one half, where source or weight is zero: the gradient of a logit is a quarter
// of dgate, without an error. What is left is that of the sums, which shows whether gradients were
// rounded to less than float before they were multiplied.
template <typename T>
void ExpectLogitGradientsKept(const GateProblem& p, uint64_t seed) {
  GateInputs inputs = GateInputs::Make<T>(p, seed);
  const auto n = static_cast<double>(p.N), h = static_cast<double>(p.H);
  const auto bound = [](double terms, double relative) {
    return Tolerance{.absolute = terms / 4 * Roundings(terms + 1) + UnderflowError<T>() + 1e-38,
                     .relative = relative,
                     .derivation = "sum of products of at most 1/4"};
  };
  std::fill(inputs.dweight.begin(), inputs.dweight.end(), 0.0);
  std::fill(inputs.dsource.begin(), inputs.dsource.end(), 0.0);
  GateInputs without_weight = inputs, without_source = inputs;
  std::fill(without_weight.weight.begin(), without_weight.weight.end(), 0.0);
  std::fill(without_source.source.begin(), without_source.source.end(), 0.0);
  ExpectClose(TypeName<T>() + std::string(" dweight"), RunGate<T>(p, without_weight).dweight,
              RunGate<double>(p, without_weight).dweight, bound(n, UnitRoundoff<float>()));
  ExpectClose(TypeName<T>() + std::string(" dsource"), RunGate<T>(p, without_source).dsource,
              RunGate<double>(p, without_source).dsource, bound(h, UnitRoundoff<T>()));
}
TEST(AttentionGateTest, LogitGradientsAreNotRoundedBeforeTheyAreMultiplied) {
  for (const int64_t N : {1, 2, 5, 20}) {
    const GateProblem p = {.N = N, .C = 72, .H = 3, .has_bias = false};
    ExpectLogitGradientsKept<float>(p, 270);
    ExpectLogitGradientsKept<bf16>(p, 271);
    if constexpr (testing::kOnCuda) ExpectLogitGradientsKept<fp16>(p, 272);
  }
}

TEST(AttentionGateTest, EveryInstructionSet) {
  testing::OnEachInstructionSet([] {
    for (const int64_t H : {1, 5, 12}) {
      ExpectGateMatchesReference({.N = 70, .C = 100, .H = H}, 40);
      ExpectGateMatchesReference({.N = 70, .C = 96, .H = H}, 41);
      const GateProblem slices = {.N = 9, .C = 20 * H, .H = H, .per_head_slice = true};
      ExpectGateMatchesReference(slices, 42);
    }
  });
}

TEST(AttentionGateTest, SlicesOfEverySize) {
  uint64_t seed = 100;
  for (const int64_t D : {1, 3, 8, 15, 16, 17, 31, 32, 33, 64, 80}) {
    for (const int64_t H : {1, 2, 5}) {
      for (const int64_t N : {1, 4, 7, 61}) {
        const GateProblem p = {.N = N,
                               .C = D * H,
                               .H = H,
                               .has_bias = N % 2 == 0,
                               .source_gap = D % 3,
                               .dsource_gap = 2 * D % 5,
                               .misalignment = H - 1,
                               .per_head_slice = true};
        ExpectGateMatchesReference(p, ++seed);
      }
    }
  }
}

TEST(AttentionGateTest, StridedAndMisalignedRows) {
  for (const int64_t misalignment : {1, 3}) {
    const GateProblem p = {
        .N = 11, .C = 35, .H = 4, .source_gap = 70, .dsource_gap = 5, .misalignment = misalignment};
    ExpectGateMatchesReference(p, 50);
  }
}

template <typename T>
void ExpectSameBitsForAnyThreadsAndBlockOrder(const GateProblem& p) {
  const GateInputs inputs = GateInputs::Make<T>(p, 60);
  const testing::ScopedThreads one(1);
  const auto expected = RunGate<T>(p, inputs);
  for (const int threads : {2, 3, 8}) {
    const testing::ScopedThreads several(threads);
    testing::SetBlockOrder(threads % testing::BlockOrders());
    const auto actual = RunGate<T>(p, inputs);
    ExpectSameBits<float>("gate", actual.gate, expected.gate);
    ExpectSameBits<T>("dsource", actual.dsource, expected.dsource);
    ExpectSameBits<float>("dweight", actual.dweight, expected.dweight);
    ExpectSameBits<float>("dbias", actual.dbias, expected.dbias);
    testing::SetBlockOrder(0);
  }
}
TEST(AttentionGateTest, SameBitsForAnyThreadsAndBlockOrder) {
  for (const bool per_head_slice : {false, true}) {
    const GateProblem p = {.N = 203, .C = 200, .H = 5, .per_head_slice = per_head_slice};
    ExpectSameBitsForAnyThreadsAndBlockOrder<float>(p);
    ExpectSameBitsForAnyThreadsAndBlockOrder<bf16>(p);
    if constexpr (testing::kOnCuda) ExpectSameBitsForAnyThreadsAndBlockOrder<fp16>(p);
  }
}

// Temperatures on both sides of 1, and gates that go beyond 1.
TEST(AttentionGateTest, CurvesOfTemperatureAndScale) {
  testing::OnEachInstructionSet([] {
    uint64_t seed = 600;
    for (const double steepness : {0.5, 1.0, 1 / 0.7}) {
      for (const double scale : {1.0, 4.0, 1 / 0.9}) {
        for (const bool slices : {false, true}) {
          ExpectGateMatchesReference({.N = 21,
                                      .C = 96,
                                      .H = 3,
                                      .per_head_slice = slices,
                                      .steepness = steepness,
                                      .scale = scale},
                                     ++seed);
        }
      }
    }
  });
}

// A free number a head: no source, no weight, and the same gate for every token.
TEST(AttentionGateTest, FreeGatesReadNoSource) {
  uint64_t seed = 700;
  for (const int64_t N : {1, 2, 70, 2087}) {
    for (const int64_t H : {1, 3, 12, 33}) {
      const GateProblem p = {.N = N, .C = 0, .H = H, .steepness = 0.5, .scale = 2};
      const GateInputs inputs = GateInputs::Make<float>(p, ++seed);
      const auto actual = RunGate<float>(p, inputs);
      for (int64_t i = 0; i < N * H; ++i) ASSERT_EQ(actual.gate[i], actual.gate[i % H]);
      for (int64_t h = 0; h < H; ++h) {
        const double gate = 2 / (1 + std::exp(-inputs.bias[h] / 2));
        EXPECT_NEAR(actual.gate[h], gate, 2 * 8 * UnitRoundoff<float>());
        double dgate = 0;
        for (int64_t n = 0; n < N; ++n) dgate += inputs.dgate[n * H + h];
        const double expected = inputs.dbias[h] + dgate * 0.5 * gate * (1 - gate / 2);
        // Every term is below 1/4 and rounds some ten times; then one sum of N.
        const auto n = static_cast<double>(N);
        EXPECT_NEAR(actual.dbias[h], expected, n / 4 * (10 + n) * UnitRoundoff<float>());
      }
    }
  }
}

// Negative controls: a factor 2 on steepness is one on the logits, and one on the scale one on the
// gates and on what they give back; powers of two round nothing.
TEST(AttentionGateTest, ACurveIsAFactorOfLogitsAndOfGates) {
  const GateProblem plain = {.N = 9, .C = 24, .H = 3};
  GateProblem curved = plain;
  curved.steepness = 2;
  curved.scale = 4;
  GateInputs inputs = GateInputs::Make<float>(plain, 66);
  inputs.dbias.assign(3, 0.0);
  GateInputs doubled = inputs;
  for (double& weight : doubled.weight) weight *= 2;
  for (double& bias : doubled.bias) bias *= 2;
  const auto expected = RunGate<float>(plain, doubled), actual = RunGate<float>(curved, inputs);
  for (size_t i = 0; i < expected.gate.size(); ++i) {
    ASSERT_EQ(actual.gate[i], 4 * expected.gate[i]);
  }
  for (size_t h = 0; h < 3; ++h) ASSERT_EQ(actual.dbias[h], 8 * expected.dbias[h]);
}

// Negative control: a weight that is zero outside of each head's slice is a weight of the slices.
TEST(AttentionGateTest, SlicesAreABlockDiagonalWeight) {
  const GateProblem slices = {.N = 37, .C = 24, .H = 3, .per_head_slice = true};
  GateProblem whole = slices;
  whole.per_head_slice = false;
  const GateInputs inputs = GateInputs::Make<float>(slices, 65);
  GateInputs spread = inputs;
  spread.weight.assign(3 * 24, 0.0);
  spread.dweight.assign(3 * 24, 0.0);
  for (size_t h = 0; h < 3; ++h) {
    std::copy_n(inputs.weight.begin() + h * 8, 8, spread.weight.begin() + h * 24 + h * 8);
  }
  const auto actual = RunGate<float>(slices, inputs);
  const auto expected = RunGate<double>(whole, spread);
  const Tolerance tolerance = {.absolute = 9 * Roundings(9) / 4,
                               .relative = 8 * UnitRoundoff<float>(),
                               .derivation = "a logit of 9 terms below 1, times the slope"};
  ExpectClose("gate", actual.gate, expected.gate, tolerance);
}

template <typename T>
void ExpectSigmoidMatchesReference(int64_t count, int64_t misalignment, uint64_t seed,
                                   const GateCurve<float>& curve = {}) {
  const GateCurve<double> wide = {curve.steepness, curve.scale};
  const bool plain = curve.steepness == 1 && curve.scale == 1;
  const auto logits = Widen(Cast<float>(RandomValues(count, seed, -12, 12)));
  const auto dgates = Widen(Cast<float>(RandomValues(count, seed + 1)));
  auto gate = Filled<float>(logits, misalignment);
  const auto dgate = Filled<float>(dgates, misalignment);
  PoisonedBuffer<T> dlogits(count, misalignment * static_cast<int64_t>(sizeof(T)));
  std::vector<double> expected_gate = logits, expected_dlogits(count);
  ASSERT_TRUE(
      backend::GateSigmoidForward<T>({.gate = gate.data(), .count = count, .curve = curve}).ok());
  reference::GateSigmoidForward({.gate = expected_gate.data(), .count = count, .curve = wide});
  const std::string name = absl::StrCat(TypeName<T>(), " ", count, " ");
  const double kept = UnitRoundoff<float>();
  // vector_math.h: relative error below 5e-7. A logit of up to 12 · steepness rounds once more with
  // a curve, and the gate too.
  const double factors = plain ? 0 : (12.0 * curve.steepness + 1) * kept;
  ExpectClose(
      name + "sigmoid", ValuesOf(gate), expected_gate,
      Tolerance{.relative = 5e-7 + factors, .derivation = "error of the logistic function"});
  ASSERT_TRUE(backend::GateSigmoidBackward<T>({.gate = gate.data(),
                                               .dgate = dgate.data(),
                                               .dlogits = dlogits.data(),
                                               .count = count,
                                               .curve = curve})
                  .ok());
  const auto gates = Widen(ValuesOf(gate));
  reference::GateSigmoidBackward({.gate = gates.data(),
                                  .dgate = dgates.data(),
                                  .dlogits = expected_dlogits.data(),
                                  .count = count,
                                  .curve = wide});
  // Where a scaled gate is nearly open, 1 - gate / scale keeps an absolute error of three
  // roundings.
  const double open = plain ? 0 : 3.0 * kept * curve.scale * curve.steepness;
  ExpectClose(name + "dlogits", ValuesOf(dlogits), expected_dlogits,
              Tolerance{.absolute = 1e-38 + UnderflowError<T>() + open,
                        .relative = UnitRoundoff<T>() + (plain ? 3 : 5) * kept,
                        .derivation = "products and one rounding to the result's type"});
}

TEST(AttentionGateTest, SigmoidOfEveryLength) {
  testing::OnEachInstructionSet([] {
    for (int64_t count = 1; count <= 34; ++count) {
      ExpectSigmoidMatchesReference<float>(count, count % 4, 300 + static_cast<uint64_t>(count));
      ExpectSigmoidMatchesReference<bf16>(count, count % 4, 400 + static_cast<uint64_t>(count));
      if constexpr (testing::kOnCuda) {
        ExpectSigmoidMatchesReference<fp16>(count, count % 4, 400 + static_cast<uint64_t>(count));
      }
    }
  });
  ExpectSigmoidMatchesReference<float>(20'001, 0, 500);  // several workers
  for (const GateCurve<float> curve : {GateCurve<float>{0.5f, 1}, {2, 4}, {1 / 0.7f, 1 / 0.9f}}) {
    ExpectSigmoidMatchesReference<float>(501, 0, 501, curve);
    ExpectSigmoidMatchesReference<bf16>(501, 1, 502, curve);
    if constexpr (testing::kOnCuda) ExpectSigmoidMatchesReference<fp16>(501, 1, 503, curve);
  }
}

// Negative control: without a weight every gate is one half, exactly.
TEST(AttentionGateTest, ZeroWeightGivesOneHalfExactly) {
  const GateProblem p = {.N = 37, .C = 24, .H = 3, .has_bias = false};
  GateInputs inputs = GateInputs::Make<bf16>(p, 70);
  inputs.weight.assign(inputs.weight.size(), 0.0);
  for (const float gate : RunGate<float>(p, inputs).gate) ASSERT_EQ(gate, 0.5f);
  for (const float gate : RunGate<bf16>(p, inputs).gate) ASSERT_EQ(gate, 0.5f);
}

// Logits far out: the gate is 0 or 1 (or next to it), never NaN.
TEST(AttentionGateTest, SaturatesWithoutNaN) {
  const GateProblem p = {.N = 2, .C = 16, .H = 1, .has_bias = false};
  GateInputs inputs = GateInputs::Make<float>(p, 80);
  inputs.source.assign(inputs.source.size(), 100.0);
  std::fill_n(inputs.source.begin() + 16, 16, -100.0);
  inputs.weight.assign(inputs.weight.size(), 50.0);
  const auto results = RunGate<float>(p, inputs);
  EXPECT_EQ(results.gate[0], 1.0f);
  EXPECT_EQ(results.gate[1], 0.0f);
}

}  // namespace
}  // namespace sluice
