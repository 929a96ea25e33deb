#include "kernels/api/dropout.h"

namespace sluice::reference {

void DropoutForward(const DropoutArgs<double>& args) {
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t c = 0; c < args.C; ++c) {
      double factor = 1;
      if (args.dropout.enabled()) {
        const int64_t sample = args.dropout.sample_index[n / args.dropout.rows_per_sample];
        factor = DropoutFactor(args.dropout, sample, n % args.dropout.rows_per_sample, c, args.C);
      }
      args.y[n * args.C + c] = args.x[n * args.C + c] * factor;
    }
  }
}

}  // namespace sluice::reference
