#include "kernels/api/layer_norm.h"

#include <cmath>

namespace sluice::reference {
namespace {

double FactorAt(const Dropout& dropout, int64_t n, int64_t c, int64_t C) {
  if (!dropout.enabled()) return 1;
  return DropoutFactor(dropout, dropout.sample_index[n / dropout.rows_per_sample],
                       n % dropout.rows_per_sample, c, C);
}

}  // namespace

void LayerNormForward(const LayerNormForwardArgs<double>& args) {
  const int64_t C = args.C;
  for (int64_t n = 0; n < args.N; ++n) {
    const double* row = args.x + n * C;
    if (args.sum != nullptr) {
      for (int64_t c = 0; c < C; ++c) {
        const double dropped = args.x[n * C + c] * FactorAt(args.dropout, n, c, C);
        args.sum[n * C + c] = dropped + (args.residual != nullptr ? args.residual[n * C + c] : 0);
      }
      row = args.sum + n * C;
    }
    double mean = 0;
    for (int64_t c = 0; c < C; ++c) mean += row[c] / static_cast<double>(C);
    double variance = 0;
    for (int64_t c = 0; c < C; ++c) {
      variance += (row[c] - mean) * (row[c] - mean) / static_cast<double>(C);
    }
    const double rstd = 1 / std::sqrt(variance + args.eps);
    for (int64_t c = 0; c < C; ++c) {
      args.y[n * C + c] = (row[c] - mean) * rstd * args.weight[c] + args.bias[c];
    }
    if (args.mean != nullptr) args.mean[n] = mean;
    if (args.rstd != nullptr) args.rstd[n] = rstd;
  }
}

void LayerNormBackward(const LayerNormBackwardArgs<double>& args) {
  const int64_t C = args.C;
  for (int64_t n = 0; n < args.N; ++n) {
    const double* dy = args.dy + n * C;
    const double* sum = args.sum + n * C;
    double mean_of_g = 0, mean_of_g_normalized = 0;  // g = dy · weight
    for (int64_t c = 0; c < C; ++c) {
      const double normalized = (sum[c] - args.mean[n]) * args.rstd[n];
      const double g = dy[c] * args.weight[c];
      mean_of_g += g / static_cast<double>(C);
      mean_of_g_normalized += g * normalized / static_cast<double>(C);
      args.dweight[c] += dy[c] * normalized;
      args.dbias[c] += dy[c];
    }
    for (int64_t c = 0; c < C; ++c) {
      const double normalized = (sum[c] - args.mean[n]) * args.rstd[n];
      const double g = dy[c] * args.weight[c];
      double dsum = (g - mean_of_g - normalized * mean_of_g_normalized) * args.rstd[n];
      if (args.dsum_in != nullptr) dsum += args.dsum_in[n * C + c];
      args.dsum[n * C + c] = dsum;
      if (args.dx != nullptr) args.dx[n * C + c] = dsum * FactorAt(args.dropout, n, c, C);
    }
  }
}

}  // namespace sluice::reference
