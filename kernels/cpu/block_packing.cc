#include "kernels/cpu/block_packing.h"

#include <algorithm>
#include <cstring>

#include "core/integer_math.h"
#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_packing.cc"
#include "kernels/cpu/highway_targets.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/vector_transpose.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Where element (i, c) lies in its block.
template <typename T>
HWY_INLINE int64_t PlaceInBlock(int64_t i, int64_t c) {
  constexpr int64_t kInner = kPackedWordInner<T>;
  return kInner * (i / kInner * kPackedBlockColumns + c) + i % kInner;
}

// A block at the edge, element by element.
template <typename T>
HWY_INLINE void PackEdgeBlock(const BlockPackingArgs<T>& args, int64_t inner, int64_t column,
                              T* block) {
  std::memset(static_cast<void*>(block), 0, kPackedBlockInner<T> * kPackedBlockColumns * sizeof(T));
  const int64_t inners = std::min(kPackedBlockInner<T>, args.inner - inner);
  const int64_t columns = std::min(kPackedBlockColumns, args.columns - column);
  for (int64_t i = 0; i < inners; ++i) {
    for (int64_t c = 0; c < columns; ++c) {
      block[PlaceInBlock<T>(i, c)] =
          args.matrix[(inner + i) * args.inner_stride + (column + c) * args.column_stride];
    }
  }
}

// Columns are neighbours: rows are copied.
HWY_INLINE void PackFromRows(const float* matrix, int64_t stride, float* block) {
  const hn::CappedTag<float, 16> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int64_t i = 0; i < kPackedBlockInner<float>; ++i) {
    for (int64_t c = 0; c < kPackedBlockColumns; c += lanes) {
      hn::Store(hn::LoadU(df, matrix + i * stride + c), df, block + i * kPackedBlockColumns + c);
    }
  }
}

// Columns are neighbours: two rows are interleaved.
HWY_INLINE void PackFromRows(const bf16* matrix, int64_t stride, bf16* block) {
  const hn::CappedTag<uint32_t, 16> d32;
  const hn::Rebind<uint16_t, decltype(d32)> d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d32));
  for (int64_t i = 0; i < kPackedBlockInner<bf16>; i += 2) {
    const auto* even = reinterpret_cast<const uint16_t*>(matrix + i * stride);
    const auto* odd = reinterpret_cast<const uint16_t*>(matrix + (i + 1) * stride);
    auto* out = reinterpret_cast<uint32_t*>(block + i * kPackedBlockColumns);
    for (int64_t c = 0; c < kPackedBlockColumns; c += lanes) {
      const auto low = hn::PromoteTo(d32, hn::LoadU(d16, even + c));
      const auto high = hn::PromoteTo(d32, hn::LoadU(d16, odd + c));
      hn::Store(hn::Or(low, hn::ShiftLeft<16>(high)), d32, out + c);
    }
  }
}

// Inner elements are neighbours, so a word's lie together already: words are transposed.
template <typename T>
HWY_INLINE void PackFromColumns(const T* matrix, int64_t stride, T* block) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t c = 0; c < kPackedBlockColumns; ++c) {
    for (int64_t i = 0; i < kPackedBlockInner<T>; ++i) {
      block[PlaceInBlock<T>(i, c)] = matrix[c * stride + i];
    }
  }
#else
  constexpr auto kSide = static_cast<int64_t>(hn::MaxLanes(hn::CappedTag<float, 16>()));
  const int64_t word_stride = stride / kPackedWordInner<T>;
  const auto* words = reinterpret_cast<const float*>(matrix);
  auto* out = reinterpret_cast<float*>(block);
  for (int64_t c = 0; c < kPackedBlockColumns; c += kSide) {
    for (int64_t row = 0; row < 16; row += kSide) {
      sluice::HWY_NAMESPACE::TransposeSquare<kSide>(words + c * word_stride + row, word_stride,
                                                    out + row * kPackedBlockColumns + c,
                                                    kPackedBlockColumns);
    }
  }
#endif
}

template <typename T>
HWY_INLINE void PackBlock(const BlockPackingArgs<T>& args, int64_t inner, int64_t column) {
  T* block = args.packed + column * RoundUp(args.inner, kPackedBlockInner<T>) +
             inner * kPackedBlockColumns;
  const bool whole =
      inner + kPackedBlockInner<T> <= args.inner && column + kPackedBlockColumns <= args.columns;
  const T* matrix = args.matrix + inner * args.inner_stride + column * args.column_stride;
  if (whole && args.column_stride == 1) {
    PackFromRows(matrix, args.inner_stride, block);
  } else if (whole && args.column_stride % kPackedWordInner<T> == 0) {
    PackFromColumns(matrix, args.column_stride, block);
  } else {
    PackEdgeBlock(args, inner, column, block);
  }
}

// The blocks of [begin, end) along the dimension whose elements lie apart: their rows are read from
// one end to the other.
template <typename T>
HWY_INLINE void Pack(const BlockPackingArgs<T>& args, int64_t begin, int64_t end) {
  if (args.column_stride == 1) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < args.columns; c += kPackedBlockColumns) {
        PackBlock(args, i * kPackedBlockInner<T>, c);
      }
    }
    return;
  }
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t i = 0; i < args.inner; i += kPackedBlockInner<T>) {
      PackBlock(args, i, c * kPackedBlockColumns);
    }
  }
}

void PackFloat(const BlockPackingArgs<float>& args, int64_t begin, int64_t end) {
  Pack(args, begin, end);
}
void PackBf16(const BlockPackingArgs<bf16>& args, int64_t begin, int64_t end) {
  Pack(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice::cpu {

HWY_EXPORT(PackFloat);
HWY_EXPORT(PackBf16);

template <typename T>
void PackBlocks(const BlockPackingArgs<T>& args) {
  const int64_t blocks = args.column_stride == 1 ? CeilDiv(args.inner, kPackedBlockInner<T>)
                                                 : CeilDiv(args.columns, kPackedBlockColumns);
  ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(PackFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(PackBf16)(args, begin, end);
    }
  });
}

template void PackBlocks(const BlockPackingArgs<float>& args);
template void PackBlocks(const BlockPackingArgs<bf16>& args);

}  // namespace sluice::cpu
#endif  // HWY_ONCE
