#include "kernels/api/elementwise.h"

namespace sluice::reference {

double SumOfSquares(const double* x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * x[i];
  return sum;
}

}  // namespace sluice::reference
