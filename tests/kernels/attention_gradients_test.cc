// The reference judged by calculus, in double: finite differences of gate and attention composed as
// a layer composes them, and the paper's Jacobian of a gated value. What the fast kernels are
// judged by is right if this is.
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "kernels/api/attention_gate.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::RandomValues;
using testing::Tolerance;

enum class Source { kValue, kInput };

// A gated attention layer without its projections: gate = σ(source W_gᵀ + b_g), source the values
// or an input x of its own; loss = ⟨out, dout⟩.
struct Layer {
  int64_t B = 2, T = 5, H = 2, D = 3;
  GateSite site = GateSite::kNone;
  Source source = Source::kValue;
  bool per_head_slice = false;
  AttentionMask mask = {};
  Dropout dropout = {};
  std::vector<double> q = {}, k = {}, v = {}, x = {}, weight = {}, bias = {}, dout = {};

  int64_t C() const { return H * D; }
  int64_t N() const { return B * T; }
  int64_t gate_weights() const { return H * (per_head_slice ? D : C()); }
  void Fill(uint64_t seed) {
    int64_t count = N() * C();
    for (auto* values : {&q, &k, &v, &x, &dout}) *values = RandomValues(count, ++seed, -1.5, 1.5);
    weight = RandomValues(gate_weights(), ++seed);
    bias = RandomValues(H, ++seed);
  }
};

struct Activations {
  std::vector<double> gate, out, log_sum_exp;
};

Activations Forward(const Layer& layer) {
  Activations a = {.gate = std::vector<double>(layer.N() * layer.H),
                   .out = std::vector<double>(layer.N() * layer.C()),
                   .log_sum_exp = std::vector<double>(layer.N() * layer.H)};
  const auto& source = layer.source == Source::kValue ? layer.v : layer.x;
  if (layer.site != GateSite::kNone) {
    reference::AttentionGateForward({.source = source.data(),
                                     .weight = layer.weight.data(),
                                     .bias = layer.bias.data(),
                                     .gate = a.gate.data(),
                                     .N = layer.N(),
                                     .C = layer.C(),
                                     .H = layer.H,
                                     .source_stride = layer.C(),
                                     .per_head_slice = layer.per_head_slice});
  }
  reference::AttentionForward({.q = layer.q.data(),
                               .k = layer.k.data(),
                               .v = layer.v.data(),
                               .gate = layer.site == GateSite::kNone ? nullptr : a.gate.data(),
                               .out = a.out.data(),
                               .log_sum_exp = a.log_sum_exp.data(),
                               .B = layer.B,
                               .T_ = layer.T,
                               .H = layer.H,
                               .D = layer.D,
                               .qkv_stride = layer.C(),
                               .scale = 1 / std::sqrt(static_cast<double>(layer.D)),
                               .gate_site = layer.site,
                               .mask = layer.mask,
                               .dropout = layer.dropout,
                               .workspace = nullptr});
  return a;
}

double Loss(const Layer& layer) {
  const Activations a = Forward(layer);
  double loss = 0;
  for (size_t i = 0; i < a.out.size(); ++i) loss += a.out[i] * layer.dout[i];
  return loss;
}

struct Gradients {
  std::vector<double> q, k, v, x, weight, bias;
};

Gradients Backward(const Layer& layer, const std::vector<double>& dout) {
  const Activations a = Forward(layer);
  const double poison = std::nan("");  // what is overwritten; what is added to starts at zero
  const auto count = static_cast<size_t>(layer.N() * layer.C());
  Gradients g = {.q = std::vector<double>(count, poison),
                 .k = std::vector<double>(count, poison),
                 .v = std::vector<double>(count, poison),
                 .x = std::vector<double>(count, 0.0),
                 .weight = std::vector<double>(layer.gate_weights(), 0.0),
                 .bias = std::vector<double>(layer.H, 0.0)};
  const bool gated = layer.site != GateSite::kNone;
  std::vector<double> dgate(layer.N() * layer.H, poison);
  reference::AttentionBackward({.q = layer.q.data(),
                                .k = layer.k.data(),
                                .v = layer.v.data(),
                                .gate = gated ? a.gate.data() : nullptr,
                                .out = a.out.data(),
                                .log_sum_exp = a.log_sum_exp.data(),
                                .dout = dout.data(),
                                .dq = g.q.data(),
                                .dk = g.k.data(),
                                .dv = g.v.data(),
                                .dgate = gated ? dgate.data() : nullptr,
                                .B = layer.B,
                                .T_ = layer.T,
                                .H = layer.H,
                                .D = layer.D,
                                .qkv_stride = layer.C(),
                                .scale = 1 / std::sqrt(static_cast<double>(layer.D)),
                                .gate_site = layer.site,
                                .mask = layer.mask,
                                .dropout = layer.dropout,
                                .workspace = nullptr});
  if (gated) {
    const bool value = layer.source == Source::kValue;
    reference::AttentionGateBackward({.source = value ? layer.v.data() : layer.x.data(),
                                      .weight = layer.weight.data(),
                                      .gate = a.gate.data(),
                                      .dgate = dgate.data(),
                                      .dsource = value ? g.v.data() : g.x.data(),
                                      .dweight = g.weight.data(),
                                      .dbias = g.bias.data(),
                                      .workspace = nullptr,
                                      .N = layer.N(),
                                      .C = layer.C(),
                                      .H = layer.H,
                                      .source_stride = layer.C(),
                                      .dsource_stride = layer.C(),
                                      .per_head_slice = layer.per_head_slice});
  }
  return g;
}

// ∂loss / ∂values by the five-point formula: error h⁴ / 30 · fifth derivative.
std::vector<double> FiniteDifferences(Layer layer, std::vector<double> Layer::*values) {
  constexpr double kStep = 0x1p-10;
  std::vector<double> gradient;
  for (size_t i = 0; i < (layer.*values).size(); ++i) {
    const double at = (layer.*values)[i];
    const auto loss_at = [&](double offset) {
      (layer.*values)[i] = at + offset;
      return Loss(layer);
    };
    const double near = loss_at(kStep) - loss_at(-kStep);
    const double far = loss_at(2 * kStep) - loss_at(-2 * kStep);
    gradient.push_back((8 * near - far) / (12 * kStep));
    (layer.*values)[i] = at;
  }
  return gradient;
}

void ExpectGradientsAreTheDerivatives(const Layer& layer, const std::string& name) {
  // Truncation h⁴ / 30 = 3e-14 times a fifth derivative of at most a few hundred; rounding of a
  // loss of size about 30 over the step: 30 · 2^-53 / 2^-10 · 18 / 12 = 5e-12.
  const Tolerance tolerance = {.absolute = 2e-11,
                               .relative = 0,
                               .zeros_expected = true,
                               .derivation = "h⁴/30 · fifth derivative + loss · 2^-53 / h"};
  const Gradients g = Backward(layer, layer.dout);
  ExpectClose(name + " dq", g.q, FiniteDifferences(layer, &Layer::q), tolerance);
  ExpectClose(name + " dk", g.k, FiniteDifferences(layer, &Layer::k), tolerance);
  ExpectClose(name + " dv", g.v, FiniteDifferences(layer, &Layer::v), tolerance);
  ExpectClose(name + " dx", g.x, FiniteDifferences(layer, &Layer::x), tolerance);
  ExpectClose(name + " dweight", g.weight, FiniteDifferences(layer, &Layer::weight), tolerance);
  ExpectClose(name + " dbias", g.bias, FiniteDifferences(layer, &Layer::bias), tolerance);
}

TEST(AttentionGradientsTest, EverySiteSourceAndMask) {
  const int32_t lengths[] = {5, 3};
  const int32_t documents[] = {1, 1, 2, 2, 2, 7, 7, 7, 7, 8};
  const int64_t sample_index[] = {3, 40};
  const Dropout dropout = {.probability = 0.3f,
                           .key = MakePhiloxKey(1, RandomPurpose::kDropout, 2),
                           .sample_index = sample_index};
  uint64_t seed = 10;
  for (const GateSite site : {GateSite::kNone, GateSite::kQuery, GateSite::kKey}) {
    for (const Source source : {Source::kValue, Source::kInput}) {
      for (int combination = 0; combination < 16; ++combination) {
        Layer layer = {.site = site, .source = source};
        if ((combination & 1) != 0) layer.mask.causal = true;
        if ((combination & 2) != 0) layer.mask.lengths = lengths;
        if ((combination & 4) != 0) layer.mask.documents = documents;
        if ((combination & 8) != 0) layer.dropout = dropout;
        layer.Fill(seed += 100);
        ExpectGradientsAreTheDerivatives(layer, "site " + std::to_string(static_cast<int>(site)) +
                                                    " source " +
                                                    std::to_string(static_cast<int>(source)) +
                                                    " case " + std::to_string(combination));
      }
    }
  }
}

TEST(AttentionGradientsTest, GatesFromTheHeadsOwnSlice) {
  uint64_t seed = 10'000;
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    for (const Source source : {Source::kValue, Source::kInput}) {
      Layer layer = {.site = site, .source = source, .per_head_slice = true};
      layer.Fill(seed += 100);
      ExpectGradientsAreTheDerivatives(layer, "slices");
    }
  }
}

// arXiv 2510.09017, Appendix A, eq. 14: ∂(g v)/∂v = g I + g (1 - g) W_g vᵀ, entry (b, a) the
// derivative of output a by input b. One token that sees itself: the output is g · v.
TEST(AttentionGradientsTest, JacobianOfAGatedValue) {
  for (const GateSite site : {GateSite::kQuery, GateSite::kKey}) {
    Layer layer = {.B = 1, .T = 1, .H = 1, .D = 7, .site = site};
    layer.Fill(77);
    const double g = Forward(layer).gate[0];
    std::vector<double> actual(49), expected(49);
    for (int64_t a = 0; a < 7; ++a) {
      std::vector<double> unit(7, 0.0);
      unit[a] = 1;
      const std::vector<double> dv = Backward(layer, unit).v;
      for (int64_t b = 0; b < 7; ++b) {
        actual[b * 7 + a] = dv[b];
        expected[b * 7 + a] = (a == b ? g : 0) + g * (1 - g) * layer.weight[b] * layer.v[a];
      }
    }
    ExpectClose("jacobian", actual, expected,
                Tolerance{.absolute = 16 * 0x1p-53,
                          .relative = 0,
                          .zeros_expected = false,
                          .derivation = "16 roundings of values of at most 1 in double"});
  }
}

}  // namespace
}  // namespace sluice
