#include "kernels/cpu/pair_packing.h"

#include <algorithm>
#include <cstring>

#include "core/integer_math.h"
#include "core/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pair_packing.cc"
#include "kernels/cpu/highway_targets.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/vector_transpose.h"

HWY_BEFORE_NAMESPACE();
namespace sluice::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A block at the edge, element by element.
HWY_INLINE void PackEdgeBlock(const PairPackingArgs& args, int64_t inner, int64_t column,
                              bf16* block) {
  std::memset(static_cast<void*>(block), 0, kPairBlockInner * kPairBlockColumns * sizeof(bf16));
  const int64_t inners = std::min(kPairBlockInner, args.inner - inner);
  const int64_t columns = std::min(kPairBlockColumns, args.columns - column);
  for (int64_t i = 0; i < inners; ++i) {
    for (int64_t c = 0; c < columns; ++c) {
      block[2 * (i / 2 * kPairBlockColumns + c) + i % 2] =
          args.matrix[(inner + i) * args.inner_stride + (column + c) * args.column_stride];
    }
  }
}

// Columns are neighbours: two rows are interleaved.
HWY_INLINE void PackFromRows(const bf16* matrix, int64_t stride, bf16* block) {
  const hn::CappedTag<uint32_t, 16> d32;
  const hn::Rebind<uint16_t, decltype(d32)> d16;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d32));
  for (int64_t i = 0; i < kPairBlockInner; i += 2) {
    const auto* even = reinterpret_cast<const uint16_t*>(matrix + i * stride);
    const auto* odd = reinterpret_cast<const uint16_t*>(matrix + (i + 1) * stride);
    auto* out = reinterpret_cast<uint32_t*>(block + i * kPairBlockColumns);
    for (int64_t c = 0; c < kPairBlockColumns; c += lanes) {
      const auto low = hn::PromoteTo(d32, hn::LoadU(d16, even + c));
      const auto high = hn::PromoteTo(d32, hn::LoadU(d16, odd + c));
      hn::Store(hn::Or(low, hn::ShiftLeft<16>(high)), d32, out + c);
    }
  }
}

// Inner elements are neighbours, so pairs lie together already: 32-bit words are transposed.
HWY_INLINE void PackFromColumns(const bf16* matrix, int64_t stride, bf16* block) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t c = 0; c < kPairBlockColumns; ++c) {
    for (int64_t i = 0; i < kPairBlockInner; ++i) {
      block[2 * (i / 2 * kPairBlockColumns + c) + i % 2] = matrix[c * stride + i];
    }
  }
#else
  constexpr auto kSide = static_cast<int64_t>(hn::MaxLanes(hn::CappedTag<float, 16>()));
  const auto* words = reinterpret_cast<const float*>(matrix);
  auto* out = reinterpret_cast<float*>(block);
  for (int64_t c = 0; c < kPairBlockColumns; c += kSide) {
    for (int64_t pair = 0; pair < kPairBlockInner / 2; pair += kSide) {
      sluice::HWY_NAMESPACE::TransposeSquare<kSide>(words + c * stride / 2 + pair, stride / 2,
                                                    out + pair * kPairBlockColumns + c,
                                                    kPairBlockColumns);
    }
  }
#endif
}

// Block `block` of the packed matrix.
HWY_INLINE void PackBlock(const PairPackingArgs& args, int64_t inner, int64_t column) {
  bf16* block =
      args.packed + column * RoundUp(args.inner, kPairBlockInner) + inner * kPairBlockColumns;
  const bool whole =
      inner + kPairBlockInner <= args.inner && column + kPairBlockColumns <= args.columns;
  const bf16* matrix = args.matrix + inner * args.inner_stride + column * args.column_stride;
  if (whole && args.column_stride == 1) {
    PackFromRows(matrix, args.inner_stride, block);
  } else if (whole && args.column_stride % 2 == 0) {
    PackFromColumns(matrix, args.column_stride, block);
  } else {
    PackEdgeBlock(args, inner, column, block);
  }
}

// The blocks of [begin, end) along the dimension whose elements lie apart: their rows are read from
// one end to the other.
void PackBlocks(const PairPackingArgs& args, int64_t begin, int64_t end) {
  if (args.column_stride == 1) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < args.columns; c += kPairBlockColumns) {
        PackBlock(args, i * kPairBlockInner, c);
      }
    }
    return;
  }
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t i = 0; i < args.inner; i += kPairBlockInner) {
      PackBlock(args, i, c * kPairBlockColumns);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice::cpu {

HWY_EXPORT(PackBlocks);

void PackPairs(const PairPackingArgs& args) {
  const int64_t blocks = args.column_stride == 1 ? CeilDiv(args.inner, kPairBlockInner)
                                                 : CeilDiv(args.columns, kPairBlockColumns);
  ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(PackBlocks)(args, begin, end);
  });
}

}  // namespace sluice::cpu
#endif  // HWY_ONCE
