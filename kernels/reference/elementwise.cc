#include "kernels/api/elementwise.h"

namespace sluice::reference {

double SumOfSquares(const double* x, int64_t count, const double* minus) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = minus == nullptr ? x[i] : x[i] - minus[i];
    sum += value * value;
  }
  return sum;
}

}  // namespace sluice::reference
