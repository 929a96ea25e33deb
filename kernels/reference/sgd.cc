#include "kernels/api/sgd.h"

namespace sluice::reference {

void Sgd(const SgdArgs<double>& args) {
  for (int64_t s = 0; s < args.segment_count; ++s) {
    const UpdateSegment& segment = args.segments[s];
    for (int64_t i = segment.begin; i < segment.end; ++i) {
      const double g =
          args.gradient[i] * args.gradient_scale + segment.weight_decay * args.master[i];
      args.momentum_buffer[i] = args.momentum * args.momentum_buffer[i] + g;
      args.master[i] -= args.learning_rate * args.momentum_buffer[i];
      args.gradient[i] = 0;
      if (args.working != nullptr) args.working[i] = args.master[i];
    }
  }
}

}  // namespace sluice::reference
