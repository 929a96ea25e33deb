// The gate's skinny products: H (2 to 16) outputs a token. Forward takes dot products of few rows
// and few heads at a time, so the source is read from memory once; backward goes through the
// columns in slices, each the whole way down the tokens, so that dweight needs no partial sums.
#include "kernels/api/attention_gate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_gate.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_prefetch.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_memory.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

constexpr int64_t kSlice = 64;     // columns of the source that backward works on together
constexpr int64_t kRowBlock = 60;  // tokens at a time in backward; a multiple of kTileRows

// logits[m · H + h] = ⟨source row m, weight row h⟩ for kRows rows and kHeads heads; kHeads is 1
// where each head reads a slice of its own.
template <int kRows, int kHeads, typename T>
HWY_INLINE void DotTile(const AttentionGateForwardArgs<T>& args, int64_t n, int64_t h,
                        float* logits) {
  const FloatTag df;
  FloatVector sum[kRows][kHeads];
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int i = 0; i < kHeads; ++i) sum[m][i] = hn::Zero(df);
  }
  const int64_t features = args.per_head_slice ? args.C / args.H : args.C;
  const T* source = args.source + n * args.source_stride + (args.per_head_slice ? h * features : 0);
  const T* weight = args.weight + h * features;
  ForEachVector(df, 0, features, [&](int64_t c, auto memory) HWY_ATTR {
    FloatVector row[kHeads];
#pragma GCC unroll 4
    for (int i = 0; i < kHeads; ++i) row[i] = memory.Load(df, weight + i * features + c);
#pragma GCC unroll 4
    for (int m = 0; m < kRows; ++m) {
      const FloatVector values = memory.Load(df, source + m * args.source_stride + c);
#pragma GCC unroll 4
      for (int i = 0; i < kHeads; ++i) sum[m][i] = hn::MulAdd(values, row[i], sum[m][i]);
    }
  });
#pragma GCC unroll 4
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int i = 0; i < kHeads; ++i) {
      const float bias = args.bias == nullptr ? 0 : static_cast<float>(args.bias[h + i]);
      logits[m * args.H + h + i] = hn::GetLane(hn::SumOfLanes(df, sum[m][i])) + bias;
    }
  }
}

template <int kRows, typename T>
void Logits(const AttentionGateForwardArgs<T>& args, int64_t n, float* logits) {
  int64_t h = 0;
  const int64_t joined = args.per_head_slice ? 0 : args.H;
  for (; h + 4 <= joined; h += 4) DotTile<kRows, 4>(args, n, h, logits);
  for (; h + 2 <= joined; h += 2) DotTile<kRows, 2>(args, n, h, logits);
  for (; h < args.H; ++h) DotTile<kRows, 1>(args, n, h, logits);
}

// 1 / (1 + e^-x) without overflow on either side.
HWY_INLINE FloatVector Sigmoid(FloatVector x) {
  const FloatTag df;
  const FloatVector one = hn::Set(df, 1.0f);
  const FloatVector e = ExpOfNonPositive(df, hn::Neg(hn::Abs(x)));
  const FloatVector numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(df)), e, one);
  return hn::Div(numerator, hn::Add(one, e));
}

// Gates of tokens [begin, end).
template <typename T>
void GateForward(const AttentionGateForwardArgs<T>& args, int64_t begin, int64_t end) {
  const FloatTag df;
  int64_t n = begin;
  for (; n + 4 <= end; n += 4) Logits<4>(args, n, args.gate + n * args.H);
  for (; n < end; ++n) Logits<1>(args, n, args.gate + n * args.H);
  const FloatVector steepness = hn::Set(df, args.curve.steepness);
  const FloatVector scale = hn::Set(df, args.curve.scale);
  ForEachVector(df, begin * args.H, end * args.H, [&](int64_t i, auto memory) HWY_ATTR {
    const FloatVector logit = hn::Mul(steepness, memory.Load(df, args.gate + i));
    memory.Store(df, hn::Mul(scale, Sigmoid(logit)), args.gate + i);
  });
}

// dlogits for elements [begin, end) of (N, H).
void LogitGradients(const float* gate, const float* dgate, const GateCurve<float>& curve,
                    int64_t begin, int64_t end, float* dlogits) {
  const FloatTag df;
  const FloatVector one = hn::Set(df, 1.0f), steepness = hn::Set(df, curve.steepness);
  const FloatVector inverse_scale = hn::Set(df, 1 / curve.scale);
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    const FloatVector g = memory.Load(df, gate + i);
    const FloatVector closed = hn::Sub(one, hn::Mul(g, inverse_scale));
    const FloatVector slope = hn::Mul(hn::Mul(steepness, g), closed);
    memory.Store(df, hn::Mul(memory.Load(df, dgate + i), slope), dlogits + i);
  });
}

// C (rows, kSlice) (+)= A · B in tiles; all rows of B and C kSlice apart.
template <bool kTransposedA>
HWY_INLINE void MultiplySlice(TileProduct product, int64_t rows) {
  const TileProduct whole = product;
  for (int64_t n = 0; n < kSlice; n += kPanel) {
    for (int64_t m = 0; m < rows; m += cpu::kTileRows) {
      product.a = whole.a + m * (kTransposedA ? 1 : whole.a_stride);
      product.b = whole.b + n;
      product.c = whole.c + m * kSlice + n;
      MultiplyTile<kTransposedA>(product, std::min(cpu::kTileRows, rows - m), kTileVectors);
    }
  }
}

// Columns [column, column + columns) of dsource and dweight, columns <= kSlice. weight, dweight:
// (H, kSlice) scratch; rows beyond H of a slice do not exist.
template <typename T>
void GateBackwardSlice(const AttentionGateBackwardArgs<T>& args, int64_t column, int64_t columns,
                       const float* dlogits, float* weight, float* dweight) {
  static_assert(kSlice % 16 == 0);
  const FloatTag df;
  HWY_ALIGN float source[kRowBlock * kSlice];
  HWY_ALIGN float dsource[kRowBlock * kSlice];
  const auto pack = [&](const T* row, float* packed) HWY_ATTR {
    PackRow(row, columns, 1, packed);
    std::fill(packed + RoundUp(columns, 16), packed + kSlice, 0.0f);
  };
  for (int64_t h = 0; h < args.H; ++h) {
    pack(args.weight + h * args.C + column, weight + h * kSlice);
  }
  for (int64_t n = 0; n < args.N; n += kRowBlock) {
    const int64_t rows = std::min(kRowBlock, args.N - n);
    cpu::RowPrefetcher next;  // what the next block reads
    const int64_t next_rows = std::min(kRowBlock, args.N - n - rows);
    if (next_rows > 0) {
      const int64_t first = n + rows;
      next.Add(args.source + first * args.source_stride + column, args.source_stride, next_rows,
               columns, /*writes=*/false);
      next.Add(args.dsource + first * args.dsource_stride + column, args.dsource_stride, next_rows,
               columns, /*writes=*/true);
      next.SpreadOver(rows);
    }
    for (int64_t r = 0; r < rows; ++r) {
      next.Advance();
      pack(args.source + (n + r) * args.source_stride + column, source + r * kSlice);
      pack(args.dsource + (n + r) * args.dsource_stride + column, dsource + r * kSlice);
    }
    MultiplySlice<false>({.a = dlogits + n * args.H,
                          .b = weight,
                          .c = dsource,
                          .a_stride = args.H,
                          .b_stride = kSlice,
                          .c_stride = kSlice,
                          .depth = args.H,
                          .accumulate = true},
                         rows);
    MultiplySlice<true>({.a = dlogits + n * args.H,
                         .b = source,
                         .c = dweight,
                         .a_stride = args.H,
                         .b_stride = kSlice,
                         .c_stride = kSlice,
                         .depth = rows,
                         .accumulate = n > 0},
                        args.H);
    for (int64_t r = 0; r < rows; ++r) {
      UnpackRow(dsource + r * kSlice, columns, 1,
                args.dsource + (n + r) * args.dsource_stride + column);
    }
  }
  for (int64_t h = 0; h < args.H && args.N > 0; ++h) {
    float* to = args.dweight + h * args.C + column;
    ForEachVector(df, 0, columns, [&](int64_t c, auto memory) HWY_ATTR {
      const FloatVector sum = memory.Load(df, dweight + h * kSlice + c);
      memory.Store(df, hn::Add(memory.Load(df, to + c), sum), to + c);
    });
  }
}

// per_head_slice: the columns of head h of dsource, and its row of dweight.
template <typename T>
void GateBackwardHead(const AttentionGateBackwardArgs<T>& args, int64_t h, const float* dlogits) {
  const FloatTag df;
  const int64_t D = args.C / args.H;
  ForEachVector(df, 0, D, [&](int64_t d, auto memory) HWY_ATTR {
    const FloatVector weight = memory.Load(df, args.weight + h * D + d);
    const T* source = args.source + h * D + d;
    T* dsource = args.dsource + h * D + d;
    FloatVector sum = hn::Zero(df);
    for (int64_t n = 0; n < args.N; ++n) {
      const FloatVector dlogit = hn::Set(df, dlogits[n * args.H + h]);
      sum = hn::MulAdd(dlogit, memory.Load(df, source), sum);
      memory.Store(df, hn::MulAdd(dlogit, weight, memory.Load(df, dsource)), dsource);
      source += args.source_stride;
      dsource += args.dsource_stride;
    }
    float* dweight = args.dweight + h * D + d;
    memory.Store(df, hn::Add(memory.Load(df, dweight), sum), dweight);
  });
}

void GateForwardFloat(const AttentionGateForwardArgs<float>& args, int64_t begin, int64_t end) {
  GateForward(args, begin, end);
}
void GateForwardBf16(const AttentionGateForwardArgs<bf16>& args, int64_t begin, int64_t end) {
  GateForward(args, begin, end);
}
void GateBackwardSliceFloat(const AttentionGateBackwardArgs<float>& args, int64_t column,
                            int64_t columns, const float* dlogits, float* weight, float* dweight) {
  GateBackwardSlice(args, column, columns, dlogits, weight, dweight);
}
void GateBackwardSliceBf16(const AttentionGateBackwardArgs<bf16>& args, int64_t column,
                           int64_t columns, const float* dlogits, float* weight, float* dweight) {
  GateBackwardSlice(args, column, columns, dlogits, weight, dweight);
}

void GateBackwardHeadFloat(const AttentionGateBackwardArgs<float>& args, int64_t h,
                           const float* dlogits) {
  GateBackwardHead(args, h, dlogits);
}
void GateBackwardHeadBf16(const AttentionGateBackwardArgs<bf16>& args, int64_t h,
                          const float* dlogits) {
  GateBackwardHead(args, h, dlogits);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/parallel.h"

namespace sluice {

HWY_EXPORT(GateForwardFloat);
HWY_EXPORT(GateForwardBf16);
HWY_EXPORT(LogitGradients);
HWY_EXPORT(GateBackwardSliceFloat);
HWY_EXPORT(GateBackwardSliceBf16);
HWY_EXPORT(GateBackwardHeadFloat);
HWY_EXPORT(GateBackwardHeadBf16);

namespace {
constexpr int64_t kSliceColumns = 64;
constexpr int64_t kForwardGrain = 16;  // tokens
}  // namespace

// The gradients of the logits (N, H), and fp32 copies of weight and dweight in slices.
int64_t AttentionGateBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t H) {
  return (RoundUp(N * H, 16) + 2 * H * RoundUp(C, kSliceColumns)) *
         static_cast<int64_t>(sizeof(float));
}

namespace cpu {

template <typename T>
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& args) {
  ParallelFor(args.N, kForwardGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(GateForwardFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(GateForwardBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

namespace {

template <typename T>
void BackwardSlices(const AttentionGateBackwardArgs<T>& args, float* dlogits) {
  float* weights = dlogits + RoundUp(args.N * args.H, 16);
  float* dweights = weights + args.H * RoundUp(args.C, kSliceColumns);
  ParallelFor(CeilDiv(args.C, kSliceColumns), 1, [&](int64_t begin, int64_t end) {
    for (int64_t slice = begin; slice < end; ++slice) {
      const int64_t column = slice * kSliceColumns;
      const int64_t columns = std::min(kSliceColumns, args.C - column);
      float* weight = weights + slice * args.H * kSliceColumns;
      float* dweight = dweights + slice * args.H * kSliceColumns;
      if constexpr (std::is_same_v<T, float>) {
        HWY_DYNAMIC_DISPATCH(GateBackwardSliceFloat)
        (args, column, columns, dlogits, weight, dweight);
      } else {
        HWY_DYNAMIC_DISPATCH(GateBackwardSliceBf16)
        (args, column, columns, dlogits, weight, dweight);
      }
    }
  });
}

template <typename T>
void BackwardHeads(const AttentionGateBackwardArgs<T>& args, const float* dlogits) {
  ParallelFor(args.H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      if constexpr (std::is_same_v<T, float>) {
        HWY_DYNAMIC_DISPATCH(GateBackwardHeadFloat)(args, h, dlogits);
      } else {
        HWY_DYNAMIC_DISPATCH(GateBackwardHeadBf16)(args, h, dlogits);
      }
    }
  });
}

}  // namespace

template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& args) {
  CHECK(args.workspace != nullptr);
  CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
  float* dlogits = static_cast<float*>(args.workspace);
  ParallelFor(args.N * args.H, 1024, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(LogitGradients)(args.gate, args.dgate, args.curve, begin, end, dlogits);
  });
  if (args.per_head_slice) {
    BackwardHeads(args, dlogits);
  } else {
    BackwardSlices(args, dlogits);
  }
  for (int64_t h = 0; h < args.H && args.dbias != nullptr; ++h) {
    double sum = 0;
    for (int64_t n = 0; n < args.N; ++n) sum += dlogits[n * args.H + h];
    args.dbias[h] += static_cast<float>(sum);
  }
  return absl::OkStatus();
}

template absl::Status AttentionGateForward(const AttentionGateForwardArgs<float>& args);
template absl::Status AttentionGateForward(const AttentionGateForwardArgs<bf16>& args);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<float>& args);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
