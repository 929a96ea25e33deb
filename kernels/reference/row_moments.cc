#include "kernels/api/row_moments.h"

#include <cmath>

namespace sluice::reference {

void RowMoments(const RowMomentsArgs<double>& args) {
  const auto columns = static_cast<double>(args.C);
  for (int64_t n = 0; n < args.N; ++n) {
    const double* row = args.x + n * args.row_stride;
    double mean = 0, largest = 0, powers[5] = {};
    for (int64_t c = 0; c < args.C; ++c) {
      mean += row[c] / columns;
      if (std::abs(row[c]) > largest) largest = std::abs(row[c]);
    }
    for (int64_t c = 0; c < args.C; ++c) {
      for (int k = 2; k <= 4; ++k) powers[k] += std::pow(row[c] - mean, k);
    }
    args.moments[n] = {.largest = std::isnan(mean) ? mean : largest,
                       .mean = mean,
                       .second = powers[2],
                       .third = powers[3],
                       .fourth = powers[4]};
  }
  for (int64_t group = 0; group < args.N / args.group; ++group) {
    for (int64_t c = 0; c < args.C; ++c) {
      double sum = 0;
      for (int64_t n = group * args.group; n < (group + 1) * args.group; ++n) {
        sum += args.x[n * args.row_stride + c] * args.x[n * args.row_stride + c];
      }
      args.squares[group * args.C + c] = sum;
    }
  }
}

}  // namespace sluice::reference
