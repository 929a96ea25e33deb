#include "kernels/api/linear.h"

namespace sluice::reference {

void LinearForward(const LinearForwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t m = 0; m < args.M; ++m) {
      double sum = args.bias != nullptr ? args.bias[m] : 0.0;
      for (int64_t k = 0; k < args.K; ++k) {
        sum += args.x[n * args.x_stride + k] * args.weight[m * args.K + k];
      }
      args.y[n * args.y_stride + m] = sum;
    }
  }
}

void LinearBackwardInput(const LinearBackwardInputArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t k = 0; k < args.K; ++k) {
      double sum = args.accumulate ? args.dx[n * args.dx_stride + k] : 0.0;
      for (int64_t m = 0; m < args.M; ++m) {
        sum += args.dy[n * args.dy_stride + m] * args.weight[m * args.K + k];
      }
      args.dx[n * args.dx_stride + k] = sum;
    }
  }
}

void LinearBackwardWeight(const LinearBackwardWeightArgs<double>& args) {
  for (int64_t m = 0; m < args.M; ++m) {
    for (int64_t n = 0; n < args.N; ++n) {
      const double dy = args.dy[n * args.dy_stride + m];
      for (int64_t k = 0; k < args.K; ++k) {
        args.dweight[m * args.K + k] += dy * args.x[n * args.x_stride + k];
      }
      if (args.dbias != nullptr) args.dbias[m] += dy;
    }
  }
}

void LinearLogits(const LinearLogitsArgs<double>& args) {
  LinearForward({.x = args.x,
                 .weight = args.weight,
                 .bias = args.bias,
                 .y = args.logits,
                 .N = args.N,
                 .K = args.K,
                 .M = args.M,
                 .x_stride = args.x_stride == 0 ? args.K : args.x_stride,
                 .y_stride = args.logits_stride == 0 ? args.M : args.logits_stride});
}

}  // namespace sluice::reference
