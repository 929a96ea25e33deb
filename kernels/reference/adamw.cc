#include "kernels/api/adamw.h"

#include <cmath>

namespace sluice::reference {

void AdamW(const AdamWArgs<double>& args) {
  const double beta1 = args.beta1, beta2 = args.beta2, learning_rate = args.learning_rate;
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(args.t));
  const double correction2 = 1 - std::pow(beta2, static_cast<double>(args.t));
  for (int64_t s = 0; s < args.segment_count; ++s) {
    const UpdateSegment& segment = args.segments[s];
    for (int64_t i = segment.begin; i < segment.end; ++i) {
      const double g = args.gradient[i] * args.gradient_scale;
      args.m[i] = beta1 * args.m[i] + (1 - beta1) * g;
      args.v[i] = beta2 * args.v[i] + (1 - beta2) * g * g;
      const double step =
          (args.m[i] / correction1) / (std::sqrt(args.v[i] / correction2) + args.eps);
      args.master[i] -= learning_rate * segment.weight_decay * args.master[i];
      args.master[i] -= learning_rate * step;
      args.gradient[i] = 0;
      if (args.working != nullptr) args.working[i] = args.master[i];
    }
  }
}

}  // namespace sluice::reference
