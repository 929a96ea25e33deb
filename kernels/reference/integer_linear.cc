#include "kernels/api/integer_linear.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sluice::reference {

void IntegerLinear(const IntegerLinearArgs<double>& args) {
  std::vector<int64_t> steps(args.K);  // from zero
  for (int64_t n = 0; n < args.N; ++n) {
    for (int64_t k = 0; k < args.K; ++k) {
      const double code =
          std::nearbyint(args.x[n * args.x_stride + k] / args.x_scale) + args.x_zero_point;
      steps[k] = static_cast<int64_t>(std::clamp(code, 0.0, 255.0)) - args.x_zero_point;
    }
    for (int64_t m = 0; m < args.M; ++m) {
      int64_t sum = 0;
      for (int64_t k = 0; k < args.K; ++k) sum += steps[k] * args.weight[m * args.K + k];
      args.y[n * args.y_stride + m] =
          args.scales[m] * static_cast<double>(sum) + (args.bias != nullptr ? args.bias[m] : 0.0);
    }
  }
}

}  // namespace sluice::reference
