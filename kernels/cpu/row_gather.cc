#include "kernels/api/row_gather.h"

#include <cstring>

#include "core/bf16.h"
#include "core/check.h"
#include "core/parallel.h"

namespace sluice::cpu {
namespace {

constexpr int64_t kRowsPerGrain = 16;

}  // namespace

template <typename T>
absl::Status RowGather(const RowGatherArgs<T>& args) {
  const auto row_bytes = static_cast<size_t>(args.C) * sizeof(T);
  ParallelFor(args.M, kRowsPerGrain, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const int64_t row = args.rows[m];
      CHECK_LT(row, args.N);
      void* y = args.y + m * args.C;
      if (row < 0) {
        std::memset(y, 0, row_bytes);
      } else {
        std::memcpy(y, args.x + row * args.C, row_bytes);
      }
    }
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status RowScatter(const RowScatterArgs<T>& args) {
  const auto row_bytes = static_cast<size_t>(args.C) * sizeof(T);
  ParallelFor(args.M, kRowsPerGrain, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      const int64_t row = args.rows[m];
      CHECK_LT(row, args.N);
      if (row < 0) continue;
      void* dx = args.dx + row * args.C;
      std::memcpy(dx, args.dy + m * args.C, row_bytes);
    }
  });
  return absl::OkStatus();
}

template absl::Status RowGather(const RowGatherArgs<float>& args);
template absl::Status RowGather(const RowGatherArgs<bf16>& args);
template absl::Status RowScatter(const RowScatterArgs<float>& args);
template absl::Status RowScatter(const RowScatterArgs<bf16>& args);

}  // namespace sluice::cpu
