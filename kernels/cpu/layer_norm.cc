// A row (a few KiB) is read from memory once and stays in the first-level cache for the passes over
// it. The parameters' gradients are summed per block of rows, and the blocks in order: the blocks
// depend on N alone, so the sums do not depend on the number of threads.
#include "kernels/api/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/layer_norm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/dropout_row.h"
#include "kernels/cpu/vector_memory.h"
// clang-format on

#ifndef SLUICE_KERNELS_CPU_LAYER_NORM_ONCE_
#define SLUICE_KERNELS_CPU_LAYER_NORM_ONCE_
namespace sluice {
namespace {

// Rows whose gradients of weight and bias one worker sums.
constexpr int64_t kFewestRowsPerBlock = 16, kMostBlocks = 128;
int64_t RowsPerBlock(int64_t N) { return std::max(kFewestRowsPerBlock, CeilDiv(N, kMostBlocks)); }

}  // namespace
}  // namespace sluice
#endif

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

struct RowStatistics {
  float mean, rstd;
};

// sum[n] = residual[n] + dropout(x[n]), rounded to T.
template <typename T>
HWY_INLINE void StoreRowSum(const LayerNormForwardArgs<T>& args, int64_t n) {
  const hn::CappedTag<float, 16> df;
  const int64_t C = args.C;
  const T* x = args.x + n * C;
  const T* residual = args.residual == nullptr ? nullptr : args.residual + n * C;
  T* sum = args.sum + n * C;
  const auto store = [&](int64_t c, auto memory, auto dropped) HWY_ATTR {
    PrefetchStream(x + c);
    if (residual != nullptr) PrefetchStream(residual + c);
    auto value = dropped;
    if (residual != nullptr) value = hn::Add(value, memory.Load(df, residual + c));
    memory.Store(df, value, sum + c);
  };
  if (args.dropout.enabled()) {
    ForEachDropoutVector(df, args.dropout, n, C, [&](int64_t c, auto memory, auto factor) HWY_ATTR {
      store(c, memory, hn::Mul(memory.Load(df, x + c), factor));
    });
  } else {
    ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
      store(c, memory, memory.Load(df, x + c));
    });
  }
}

template <typename T>
HWY_INLINE float Total(const T* row, int64_t C) {
  const hn::CappedTag<float, 16> df;
  auto total = hn::Zero(df);
  ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
    total = hn::Add(total, memory.Load(df, row + c));
  });
  return hn::GetLane(hn::SumOfLanes(df, total));
}

// Corrected two-pass statistics (Chan, Golub and LeVeque 1983): the second pass also sums the
// deviations, which repairs the rounding of the first mean.
template <typename T>
HWY_INLINE RowStatistics Statistics(const T* row, int64_t C, float eps) {
  const hn::CappedTag<float, 16> df;
  const float first_mean = Total(row, C) / static_cast<float>(C);
  const auto shift = hn::Set(df, first_mean);
  auto deviations = hn::Zero(df);
  auto squares = hn::Zero(df);
  ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
    const auto deviation = memory.Keep(df, hn::Sub(memory.Load(df, row + c), shift), hn::Zero(df));
    deviations = hn::Add(deviations, deviation);
    squares = hn::MulAdd(deviation, deviation, squares);
  });
  const float correction = hn::GetLane(hn::SumOfLanes(df, deviations)) / static_cast<float>(C);
  const float second_moment = hn::GetLane(hn::SumOfLanes(df, squares)) / static_cast<float>(C);
  const float variance = second_moment - correction * correction;
  return {first_mean + correction, 1 / std::sqrt(std::max(variance, 0.0f) + eps)};
}

template <typename T>
HWY_INLINE void ForwardRows(const LayerNormForwardArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  const int64_t C = args.C;
  for (int64_t n = begin; n < end; ++n) {
    const T* row = args.x + n * C;
    if (args.sum != nullptr) {
      StoreRowSum(args, n);
      row = args.sum + n * C;
    }
    const RowStatistics statistics = Statistics(row, C, args.eps);
    if (args.mean != nullptr) args.mean[n] = statistics.mean;
    if (args.rstd != nullptr) args.rstd[n] = statistics.rstd;
    const auto mean = hn::Set(df, statistics.mean);
    const auto rstd = hn::Set(df, statistics.rstd);
    T* y = args.y + n * C;
    ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
      const auto normalized = hn::Mul(hn::Sub(memory.Load(df, row + c), mean), rstd);
      memory.Store(
          df,
          hn::MulAdd(normalized, memory.Load(df, args.weight + c), memory.Load(df, args.bias + c)),
          y + c);
    });
  }
}

// Means over the row of g = dy · weight and of g · normalized.
struct RowMeans {
  float g, g_normalized;
};

// Also adds the row to the block's sums of the parameters' gradients.
template <typename T>
HWY_INLINE RowMeans ReduceRow(const LayerNormBackwardArgs<T>& args, int64_t n,
                              float* HWY_RESTRICT dweight, float* HWY_RESTRICT dbias) {
  const hn::CappedTag<float, 16> df;
  const int64_t C = args.C;
  const T* dy_row = args.dy + n * C;
  const T* sum_row = args.sum + n * C;
  const auto mean = hn::Set(df, args.mean[n]);
  const auto rstd = hn::Set(df, args.rstd[n]);
  auto sum_g = hn::Zero(df);
  auto sum_g_normalized = hn::Zero(df);
  // Lanes beyond the row have dy = 0 and add nothing.
  ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
    PrefetchStream(dy_row + c);
    PrefetchStream(sum_row + c);
    if (args.dsum_in != nullptr) PrefetchStream(args.dsum_in + n * C + c);
    const auto dy = memory.Load(df, dy_row + c);
    const auto normalized = hn::Mul(hn::Sub(memory.Load(df, sum_row + c), mean), rstd);
    const auto dy_normalized = memory.Keep(df, hn::Mul(dy, normalized), hn::Zero(df));
    const auto weight = memory.Load(df, args.weight + c);
    sum_g = hn::MulAdd(dy, weight, sum_g);
    sum_g_normalized = hn::MulAdd(dy_normalized, weight, sum_g_normalized);
    memory.Store(df, hn::Add(memory.Load(df, dweight + c), dy_normalized), dweight + c);
    memory.Store(df, hn::Add(memory.Load(df, dbias + c), dy), dbias + c);
  });
  const float columns = static_cast<float>(C);
  return {hn::GetLane(hn::SumOfLanes(df, sum_g)) / columns,
          hn::GetLane(hn::SumOfLanes(df, sum_g_normalized)) / columns};
}

template <typename T>
HWY_INLINE void StoreRowGradient(const LayerNormBackwardArgs<T>& args, int64_t n, RowMeans means) {
  const hn::CappedTag<float, 16> df;
  const int64_t C = args.C;
  const auto mean = hn::Set(df, args.mean[n]);
  const auto rstd = hn::Set(df, args.rstd[n]);
  const auto mean_g = hn::Set(df, means.g);
  const auto mean_g_normalized = hn::Set(df, means.g_normalized);
  // dsum at column c, stored; returned before rounding.
  const auto store_dsum = [&](int64_t c, auto memory) HWY_ATTR {
    const int64_t i = n * C + c;
    const auto g = hn::Mul(memory.Load(df, args.dy + i), memory.Load(df, args.weight + c));
    const auto normalized = hn::Mul(hn::Sub(memory.Load(df, args.sum + i), mean), rstd);
    auto dsum = hn::Mul(hn::NegMulAdd(normalized, mean_g_normalized, hn::Sub(g, mean_g)), rstd);
    if (args.dsum_in != nullptr) dsum = hn::Add(dsum, memory.Load(df, args.dsum_in + i));
    memory.Store(df, dsum, args.dsum + i);
    return dsum;
  };
  if (args.dx != nullptr && args.dropout.enabled()) {
    ForEachDropoutVector(df, args.dropout, n, C, [&](int64_t c, auto memory, auto factor) HWY_ATTR {
      const auto dsum = store_dsum(c, memory);
      memory.Store(df, hn::Mul(dsum, factor), args.dx + n * C + c);
    });
  } else {
    ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
      const auto dsum = store_dsum(c, memory);
      if (args.dx != nullptr) memory.Store(df, dsum, args.dx + n * C + c);
    });
  }
}

template <typename T>
HWY_INLINE void BackwardBlocks(const LayerNormBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const int64_t rows = RowsPerBlock(args.N);
  for (int64_t block = begin; block < end; ++block) {
    float* dweight = static_cast<float*>(args.workspace) + block * 2 * args.C;
    float* dbias = dweight + args.C;
    std::fill(dweight, dweight + 2 * args.C, 0.0f);
    for (int64_t n = block * rows; n < std::min(args.N, (block + 1) * rows); ++n) {
      StoreRowGradient(args, n, ReduceRow(args, n, dweight, dbias));
    }
  }
}

// total[c] += Σ over blocks of partial[block · stride + c], in order.
void AddBlocks(const float* partial, int64_t blocks, int64_t stride, int64_t begin, int64_t end,
               float* total) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, begin, end, [&](int64_t c, auto memory) HWY_ATTR {
    auto sum = hn::Zero(df);
    for (int64_t block = 0; block < blocks; ++block) {
      sum = hn::Add(sum, memory.Load(df, partial + block * stride + c));
    }
    memory.Store(df, hn::Add(memory.Load(df, total + c), sum), total + c);
  });
}

void ForwardRowsFloat(const LayerNormForwardArgs<float>& args, int64_t begin, int64_t end) {
  ForwardRows(args, begin, end);
}
void ForwardRowsBf16(const LayerNormForwardArgs<bf16>& args, int64_t begin, int64_t end) {
  ForwardRows(args, begin, end);
}
void BackwardBlocksFloat(const LayerNormBackwardArgs<float>& args, int64_t begin, int64_t end) {
  BackwardBlocks(args, begin, end);
}
void BackwardBlocksBf16(const LayerNormBackwardArgs<bf16>& args, int64_t begin, int64_t end) {
  BackwardBlocks(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {

int64_t LayerNormBackwardWorkspaceBytes(int64_t N, int64_t C) {
  // Not the blocks of N rows: fewer rows may be dealt out to more blocks.
  return std::min(kMostBlocks, CeilDiv(N, kFewestRowsPerBlock)) * 2 * C *
         static_cast<int64_t>(sizeof(float));
}

namespace {

HWY_EXPORT(ForwardRowsFloat);
HWY_EXPORT(ForwardRowsBf16);
HWY_EXPORT(BackwardBlocksFloat);
HWY_EXPORT(BackwardBlocksBf16);
HWY_EXPORT(AddBlocks);

constexpr int64_t kForwardRowsPerGrain = 8;
constexpr int64_t kColumnsPerGrain = 64;

}  // namespace

namespace cpu {

template <typename T>
absl::Status LayerNormForward(const LayerNormForwardArgs<T>& args) {
  CHECK(args.sum != nullptr || (args.residual == nullptr && !args.dropout.enabled()));
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  ParallelFor(args.N, kForwardRowsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(ForwardRowsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(ForwardRowsBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status LayerNormBackward(const LayerNormBackwardArgs<T>& args) {
  CHECK(args.dx != nullptr || !args.dropout.enabled());
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  const int64_t blocks = CeilDiv(args.N, RowsPerBlock(args.N));
  ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(BackwardBlocksFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(BackwardBlocksBf16)(args, begin, end);
    }
  });
  const auto* partial = static_cast<const float*>(args.workspace);
  ParallelFor(args.C, kColumnsPerGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddBlocks)(partial, blocks, 2 * args.C, begin, end, args.dweight);
    HWY_DYNAMIC_DISPATCH(AddBlocks)(partial + args.C, blocks, 2 * args.C, begin, end, args.dbias);
  });
  return absl::OkStatus();
}

template absl::Status LayerNormForward(const LayerNormForwardArgs<float>& args);
template absl::Status LayerNormForward(const LayerNormForwardArgs<bf16>& args);
template absl::Status LayerNormBackward(const LayerNormBackwardArgs<float>& args);
template absl::Status LayerNormBackward(const LayerNormBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
