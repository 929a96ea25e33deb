#include "kernels/api/attention_gate.h"

#include <cmath>

namespace sluice::reference {
namespace {

// What the gate of head h reads: `features` columns of the source from `first` on, with the weights
// from weight_row on.
struct GateInputs {
  int64_t first, features, weight_row;
};
template <typename Args>
GateInputs InputsOf(const Args& args, int64_t h) {
  const int64_t D = args.C / args.H;
  if (args.per_head_slice) return {.first = h * D, .features = D, .weight_row = h * D};
  return {.first = 0, .features = args.C, .weight_row = h * args.C};
}

double Gate(double logit, const GateCurve<double>& curve) {
  return curve.scale / (1 + std::exp(-curve.steepness * logit));
}

double Slope(double gate, const GateCurve<double>& curve) {
  return curve.steepness * gate * (1 - gate / curve.scale);
}

}  // namespace

void AttentionGateForward(const AttentionGateForwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t h = 0; h < args.H; ++h) {
      const GateInputs inputs = InputsOf(args, h);
      double logit = args.bias == nullptr ? 0 : args.bias[h];
      for (int64_t c = 0; c < inputs.features; ++c) {
        logit += args.source[n * args.source_stride + inputs.first + c] *
                 args.weight[inputs.weight_row + c];
      }
      args.gate[n * args.H + h] = Gate(logit, args.curve);
    }
  }
}

void AttentionGateBackward(const AttentionGateBackwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t h = 0; h < args.H; ++h) {
      const GateInputs inputs = InputsOf(args, h);
      const double gate = args.gate[n * args.H + h];
      const double dlogit = args.dgate[n * args.H + h] * Slope(gate, args.curve);
      for (int64_t c = 0; c < inputs.features; ++c) {
        const int64_t column = inputs.first + c, weight = inputs.weight_row + c;
        args.dsource[n * args.dsource_stride + column] += dlogit * args.weight[weight];
        args.dweight[weight] += dlogit * args.source[n * args.source_stride + column];
      }
      if (args.dbias != nullptr) args.dbias[h] += dlogit;
    }
  }
}

void GateSigmoidForward(const GateSigmoidForwardArgs<double>& args) {
  for (int64_t i = 0; i < args.count; ++i) args.gate[i] = Gate(args.gate[i], args.curve);
}

void GateSigmoidBackward(const GateSigmoidBackwardArgs<double>& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    args.dlogits[i] = args.dgate[i] * Slope(args.gate[i], args.curve);
  }
}

}  // namespace sluice::reference
