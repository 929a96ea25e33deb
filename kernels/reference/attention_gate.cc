#include "kernels/api/attention_gate.h"

#include <cmath>

namespace sluice::reference {

void AttentionGateForward(const AttentionGateForwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t h = 0; h < args.H; ++h) {
      double logit = args.bias == nullptr ? 0 : args.bias[h];
      for (int64_t c = 0; c < args.C; ++c) {
        logit += args.source[n * args.source_stride + c] * args.weight[h * args.C + c];
      }
      args.gate[n * args.H + h] = 1 / (1 + std::exp(-logit));
    }
  }
}

void AttentionGateBackward(const AttentionGateBackwardArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t h = 0; h < args.H; ++h) {
      const double gate = args.gate[n * args.H + h];
      const double dlogit = args.dgate[n * args.H + h] * gate * (1 - gate);
      for (int64_t c = 0; c < args.C; ++c) {
        args.dsource[n * args.dsource_stride + c] += dlogit * args.weight[h * args.C + c];
        args.dweight[h * args.C + c] += dlogit * args.source[n * args.source_stride + c];
      }
      if (args.dbias != nullptr) args.dbias[h] += dlogit;
    }
  }
}

}  // namespace sluice::reference
