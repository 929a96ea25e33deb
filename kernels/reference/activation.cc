#include "kernels/api/activation.h"

#include <cmath>
#include <numbers>

namespace sluice::reference {
namespace {

struct ValueAndSlope {
  double value, slope;
};

ValueAndSlope GeluErf(double x) {
  const double cumulative = std::erfc(-x / std::numbers::sqrt2) / 2;
  const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
  return {x * cumulative, cumulative + x * density};
}

// (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), which does not cancel for negative u.
ValueAndSlope GeluTanh(double x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  const double u = c * (x + 0.044715 * x * x * x);
  const double du = c * (1 + 3 * 0.044715 * x * x);
  const double share = 1 / (1 + std::exp(-2 * u));
  const double opposite = 1 / (1 + std::exp(2 * u));
  return {x * share, share + x * share * opposite * 2 * du};
}

ValueAndSlope Evaluate(Activation activation, double x) {
  switch (activation) {
    case Activation::kGeluErf:
      return GeluErf(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kRelu:
      return {x > 0 ? x : 0, x > 0 ? 1.0 : 0.0};
    case Activation::kTanh:
      return {std::tanh(x), 1 / (std::cosh(x) * std::cosh(x))};
  }
  return {};
}

}  // namespace

void ActivationForward(const ActivationForwardArgs<double>& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    args.y[i] = Evaluate(args.activation, args.x[i]).value;
  }
}

void ActivationBackward(const ActivationBackwardArgs<double>& args) {
  for (int64_t i = 0; i < args.count; ++i) {
    args.dx[i] = args.dy[i] * Evaluate(args.activation, args.x[i]).slope;
  }
}

}  // namespace sluice::reference
