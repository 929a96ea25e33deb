#include "kernels/cpu/linear_layout.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_layout.cc"
#include "kernels/cpu/highway_targets.h"

#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/vector_memory.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// What a transposition moves: the bits of an element.
template <typename T>
struct BitsOf {
  using type = uint32_t;
};
template <>
struct BitsOf<bf16> {
  using type = uint16_t;
};

HWY_INLINE float ValueOf(uint32_t bits) { return std::bit_cast<float>(bits); }
HWY_INLINE float ValueOf(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// One column, element by element: the remainders of the vector code.
template <typename T, typename Bits>
HWY_INLINE void ScalarColumn(const TransposeColumnsArgs<T>& args, int64_t column, Bits*) {
  const Bits* in = reinterpret_cast<const Bits*>(args.matrix) + args.first + column;
  Bits* out = reinterpret_cast<Bits*>(args.transposed) + column * args.transposed_stride;
  float sum = 0;
  for (int64_t n = 0; n < args.rows; ++n) {
    const Bits bits = in[n * args.stride];
    out[n] = bits;
    sum += ValueOf(bits);
  }
  if (args.column_sums != nullptr) args.column_sums[args.first + column] += sum;
}

#if HWY_TARGET != HWY_SCALAR

// Stores the 128-bit blocks of `v` `block_stride` elements apart.
template <class D, class V, typename Bits>
HWY_INLINE void StoreBlocks(D d, V v, Bits* out, int64_t block_stride) {
  if constexpr (hn::MaxLanes(D()) * sizeof(Bits) <= 16) {
    hn::StoreU(v, d, out);
  } else {
    const hn::Half<D> half;
    constexpr int64_t kBlocks = hn::MaxLanes(D()) * sizeof(Bits) / 32;
    StoreBlocks(half, hn::LowerHalf(half, v), out, block_stride);
    StoreBlocks(half, hn::UpperHalf(half, v), out + kBlocks * block_stride, block_stride);
  }
}

// Running sums of Lanes(d) columns. Those of 16-bit elements lie in two vectors of floats, in the
// order in which interleaving with zeros leaves them.
template <class D32>
struct SumVectors {
  hn::Vec<D32> low, high;
};

template <class D, class V, class D32>
HWY_INLINE void AddToSums(D d, V row, D32 d32, SumVectors<D32>& sums) {
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    sums.low = hn::Add(sums.low, hn::BitCast(d32, row));
  } else {
    const auto zero = hn::Zero(d);
    sums.low = hn::Add(sums.low, hn::BitCast(d32, hn::InterleaveLower(d, zero, row)));
    sums.high = hn::Add(sums.high, hn::BitCast(d32, hn::InterleaveUpper(d, zero, row)));
  }
}

// Adds the sums to column_sums in the order of the columns.
template <class D, class D32>
HWY_INLINE void StoreSums(D, D32 d32, const SumVectors<D32>& sums, float* column_sums) {
  constexpr int64_t kFloats = hn::MaxLanes(D32());
  alignas(64) float low[kFloats], high[kFloats];
  hn::Store(sums.low, d32, low);
  hn::Store(sums.high, d32, high);
  for (int64_t i = 0; i < kFloats; ++i) {
    if constexpr (sizeof(hn::TFromD<D>) == 4) {
      column_sums[i] += low[i];
    } else {  // low holds columns 0…3 of each 128-bit block of eight, high 4…7
      column_sums[i / 4 * 8 + i % 4] += low[i];
      column_sums[i / 4 * 8 + 4 + i % 4] += high[i];
    }
  }
}

// Transposes 16 / sizeof(Bits) rows of Lanes(d) columns within 128-bit blocks, by rounds of the
// perfect shuffle, and adds them to the sums. Column c goes to out[c * out_stride …].
template <class D, class D32, typename Bits>
HWY_INLINE void TransposeRows(D d, const Bits* in, int64_t stride, Bits* out, int64_t out_stride,
                              SumVectors<D32>& sums) {
  constexpr int kRows = 16 / sizeof(Bits);
  hn::Vec<D> rows[kRows], shuffled[kRows];
  for (int i = 0; i < kRows; ++i) {
    rows[i] = hn::LoadU(d, in + i * stride);
    AddToSums(d, rows[i], D32(), sums);
  }
  for (int round = 1; round < kRows; round *= 2) {
    for (int i = 0; i < kRows / 2; ++i) {
      shuffled[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + kRows / 2]);
      shuffled[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + kRows / 2]);
    }
    for (int i = 0; i < kRows; ++i) rows[i] = shuffled[i];
  }
  for (int i = 0; i < kRows; ++i) {
    StoreBlocks(d, rows[i], out + i * out_stride, kRows * out_stride);
  }
}

// Lanes(d) columns from `column` on. Many rows are transposed into a tile, which is then stored a
// few cache lines at a time: rows of `transposed` often lie a power of two apart (N = 2048), and
// filling as many of them side by side as there are lanes takes two to three times as long.
template <typename T, class D>
HWY_INLINE void VectorColumns(const TransposeColumnsArgs<T>& args, int64_t column, D d) {
  using Bits = hn::TFromD<D>;
  using D32 = hn::Repartition<float, D>;
  constexpr int64_t kRows = 16 / sizeof(Bits), kTileRows = 128;
  const int64_t lanes = hn::Lanes(d);
  SumVectors<D32> sums = {hn::Zero(D32()), hn::Zero(D32())};
  const Bits* in = reinterpret_cast<const Bits*>(args.matrix) + args.first + column;
  Bits* out = reinterpret_cast<Bits*>(args.transposed) + column * args.transposed_stride;
  alignas(64) Bits tile[hn::MaxLanes(D()) * kTileRows];
  int64_t n = 0;
  for (; n + kTileRows <= args.rows; n += kTileRows) {
    // Rows lie thousands of bytes apart, which hardware prefetchers do not see through.
    const int64_t ahead = std::min(n + 2 * kTileRows, args.rows) - (n + kTileRows);
    for (int64_t i = 0; i < kTileRows; i += kRows) {
      for (int64_t row = i; row < std::min(i + kRows, ahead); ++row) {
        __builtin_prefetch(in + (n + kTileRows + row) * args.stride);
      }
      TransposeRows(d, in + (n + i) * args.stride, args.stride, tile + i, kTileRows, sums);
    }
    for (int64_t c = 0; c < lanes; ++c) {
      std::memcpy(out + c * args.transposed_stride + n, tile + c * kTileRows,
                  kTileRows * sizeof(Bits));
    }
  }
  for (; n + kRows <= args.rows; n += kRows) {
    TransposeRows(d, in + n * args.stride, args.stride, out + n, args.transposed_stride, sums);
  }
  for (; n < args.rows; ++n) {
    const Bits* row = in + n * args.stride;
    AddToSums(d, hn::LoadU(d, row), D32(), sums);
    for (int64_t c = 0; c < lanes; ++c) out[c * args.transposed_stride + n] = row[c];
  }
  if (args.column_sums != nullptr) {
    StoreSums(d, D32(), sums, args.column_sums + args.first + column);
  }
}

#endif  // HWY_TARGET != HWY_SCALAR

template <typename T>
HWY_INLINE void TransposeRange(const TransposeColumnsArgs<T>& args, int64_t begin, int64_t end) {
  using Bits = typename BitsOf<T>::type;
  int64_t column = begin;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<Bits> d;
  const hn::CappedTag<Bits, 16 / sizeof(Bits)> block;
  const int64_t lanes = hn::Lanes(d), block_lanes = hn::Lanes(block);
  for (; column + lanes <= end; column += lanes) VectorColumns(args, column, d);
  for (; column + block_lanes <= end; column += block_lanes) VectorColumns(args, column, block);
#endif
  for (; column < end; ++column) ScalarColumn(args, column, static_cast<Bits*>(nullptr));
}

void TransposeFloat(const TransposeColumnsArgs<float>& args, int64_t begin, int64_t end) {
  TransposeRange(args, begin, end);
}
void TransposeBf16(const TransposeColumnsArgs<bf16>& args, int64_t begin, int64_t end) {
  TransposeRange(args, begin, end);
}

void AddRange(const float* addend, float* sum, int64_t count) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    sluice::HWY_NAMESPACE::PrefetchStream(sum + i);
    hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::LoadU(d, addend + i)), d, sum + i);
  }
  for (; i < count; ++i) sum[i] += addend[i];
}

// The compiler vectorizes these two for each target.
void WidenRange(const bf16* values, float* wide, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    wide[i] = std::bit_cast<float>(static_cast<uint32_t>(values[i].bits) << 16);
  }
}
void RoundRange(const float* wide, bf16* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t u = std::bit_cast<uint32_t>(wide[i]);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    values[i].bits = static_cast<uint16_t>(is_nan ? (u >> 16) | 0x0040u : rounded);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice::cpu {
namespace {

HWY_EXPORT(TransposeFloat);
HWY_EXPORT(TransposeBf16);
HWY_EXPORT(AddRange);
HWY_EXPORT(WidenRange);
HWY_EXPORT(RoundRange);

// Columns that one thread takes at least: a cache line of bf16, so that no two threads share one.
constexpr int64_t kColumnGrain = 32;
// Elements of a streaming pass worth handing to another thread.
constexpr int64_t kElementGrain = 16384;

}  // namespace

template <>
void TransposeColumns<float>(const TransposeColumnsArgs<float>& args) {
  ParallelFor(args.count, kColumnGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(TransposeFloat)(args, begin, end);
  });
}

template <>
void TransposeColumns<bf16>(const TransposeColumnsArgs<bf16>& args) {
  ParallelFor(args.count, kColumnGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(TransposeBf16)(args, begin, end);
  });
}

void AddInto(const float* addend, float* sum, int64_t count) {
  ParallelFor(count, kElementGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRange)(addend + begin, sum + begin, end - begin);
  });
}

void WidenRows(const bf16* values, int64_t stride, float* wide, int64_t rows, int64_t columns) {
  const int64_t grain = std::max<int64_t>(1, kElementGrain / columns);
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      HWY_DYNAMIC_DISPATCH(WidenRange)(values + row * stride, wide + row * columns, columns);
    }
  });
}

void RoundRows(const float* wide, bf16* values, int64_t stride, int64_t rows, int64_t columns) {
  const int64_t grain = std::max<int64_t>(1, kElementGrain / columns);
  ParallelFor(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      HWY_DYNAMIC_DISPATCH(RoundRange)(wide + row * columns, values + row * stride, columns);
    }
  });
}

}  // namespace sluice::cpu
#endif  // HWY_ONCE
