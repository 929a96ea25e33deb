#include "kernels/api/row_gather.h"

namespace sluice::reference {

void RowGather(const RowGatherArgs<double>& args) {
  for (int64_t m = 0; m < args.M; ++m) {
    for (int64_t c = 0; c < args.C; ++c) {
      args.y[m * args.C + c] = args.rows[m] < 0 ? 0 : args.x[args.rows[m] * args.C + c];
    }
  }
}

void RowScatter(const RowScatterArgs<double>& args) {
  for (int64_t m = 0; m < args.M; ++m) {
    if (args.rows[m] < 0) continue;
    for (int64_t c = 0; c < args.C; ++c) {
      args.dx[args.rows[m] * args.C + c] = args.dy[m * args.C + c];
    }
  }
}

}  // namespace sluice::reference
