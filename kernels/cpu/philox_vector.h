// Philox4x32-10 in vector registers, and the dropout masks of kernels/api/dropout.h made of it: the
// same bits as sluice::Philox and sluice::DropoutFactor, 16 lanes at a time (one 512-bit vector,
// two of 256 bits, four of 128, sixteen scalars).
//
// A Highway "-inl" header: include it after hwy/foreach_target.h and hwy/highway.h, once a target.
// Callers are force-inlined into functions between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE.
//
//   const DropoutStream stream = MakeDropoutStream(dropout, sample_index, columns);
//   for (int64_t block = 0; block * 128 < columns; ++block) {
//     ForEachDropoutMask(df, stream, row, block, [&](int64_t offset, Mask<DF> keep) HWY_ATTR {
//       const int64_t column = block * 128 + offset;  // of the mask's first lane
//       … IfThenElseZero(keep, x[column …]) · stream.scale …
//     });
//   }
#if defined(SLUICE_KERNELS_CPU_PHILOX_VECTOR_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_PHILOX_VECTOR_H_
#undef SLUICE_KERNELS_CPU_PHILOX_VECTOR_H_
#else
#define SLUICE_KERNELS_CPU_PHILOX_VECTOR_H_
#endif

#include <cstdint>

#include "core/philox.h"
#include "hwy/highway.h"
#include "kernels/api/dropout.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The four words of Lanes(du) neighbouring counters.
template <class DU>
struct PhiloxVectors {
  hn::Vec<DU> word[4];
};

#if HWY_TARGET == HWY_SCALAR

template <class DU>
HWY_INLINE PhiloxVectors<DU> PhiloxLanes(DU du, PhiloxKey key, uint64_t position, uint64_t sample) {
  const auto words = Philox(key, PhiloxCounter(position, sample));
  return {
      {hn::Set(du, words[0]), hn::Set(du, words[1]), hn::Set(du, words[2]), hn::Set(du, words[3])}};
}

#else

// Lane i of word w is Philox(key, PhiloxCounter(position + i, sample))[w]. `position` must be a
// multiple of Lanes(du). Even and odd counters are kept in 64-bit lanes of their own, where the
// 32 x 32 → 64 bit product needs no shuffles; the upper halves hold leftovers that nothing reads.
template <class DU>
HWY_INLINE PhiloxVectors<DU> PhiloxLanes(DU du, PhiloxKey key, uint64_t position, uint64_t sample) {
  using VU = hn::Vec<DU>;
  const hn::RepartitionToWide<DU> du64;
  const auto high_half = [&](auto product)
                             HWY_ATTR { return hn::BitCast(du, hn::ShiftRight<32>(product)); };
  const VU multiplier0 = hn::Set(du, 0xD2511F53u);
  const VU multiplier1 = hn::Set(du, 0xCD9E8D57u);
  const VU first = hn::Iota(du, static_cast<uint32_t>(position));
  VU even0 = first;
  VU odd0 = hn::BitCast(du, hn::ShiftRight<32>(hn::BitCast(du64, first)));
  VU even1 = hn::Set(du, static_cast<uint32_t>(position >> 32));
  VU odd1 = even1;
  VU even2 = hn::Set(du, static_cast<uint32_t>(sample));
  VU odd2 = even2;
  VU even3 = hn::Set(du, static_cast<uint32_t>(sample >> 32));
  VU odd3 = even3;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const VU k0 = hn::Set(du, key.k0);
    const VU k1 = hn::Set(du, key.k1);
    const auto even_product0 = hn::MulEven(even0, multiplier0);
    const auto even_product1 = hn::MulEven(even2, multiplier1);
    const auto odd_product0 = hn::MulEven(odd0, multiplier0);
    const auto odd_product1 = hn::MulEven(odd2, multiplier1);
    even0 = hn::Xor3(high_half(even_product1), even1, k0);
    odd0 = hn::Xor3(high_half(odd_product1), odd1, k0);
    even2 = hn::Xor3(high_half(even_product0), even3, k1);
    odd2 = hn::Xor3(high_half(odd_product0), odd3, k1);
    even1 = hn::BitCast(du, even_product1);
    odd1 = hn::BitCast(du, odd_product1);
    even3 = hn::BitCast(du, even_product0);
    odd3 = hn::BitCast(du, odd_product0);
    key.k0 += 0x9E3779B9u;
    key.k1 += 0xBB67AE85u;
  }
  const auto interleave = [&](VU even, VU odd) HWY_ATTR {
    return hn::OddEven(hn::BitCast(du, hn::ShiftLeft<32>(hn::BitCast(du64, odd))), even);
  };
  return {{interleave(even0, odd0), interleave(even1, odd1), interleave(even2, odd2),
           interleave(even3, odd3)}};
}

#endif  // HWY_TARGET

// One sample's dropout, with what does not change from row to row worked out.
struct DropoutStream {
  PhiloxKey key;
  uint64_t sample = 0;         // global sample index
  int64_t blocks_per_row = 0;  // ceil(columns / 128)
  uint32_t threshold = 0;      // 16 random bits below this are dropped
  float scale = 1;             // what kept values are multiplied by
};

HWY_INLINE DropoutStream MakeDropoutStream(const Dropout& dropout, int64_t sample_index,
                                           int64_t columns) {
  return {dropout.key, static_cast<uint64_t>(sample_index), (columns + 127) / 128,
          dropout.threshold(), dropout.scale()};
}

// For the 128 columns of block `block` of row `row`: consume(offset, keep) with the float mask of
// columns block·128 + offset … + Lanes(df) - 1, every offset that is a multiple of Lanes(df) in
// [0, 128) once, not in rising order. Lanes(df) must be 16 or a divisor of it.
template <class DF, class Consume>
HWY_INLINE void ForEachDropoutMask(DF df, const DropoutStream& stream, int64_t row, int64_t block,
                                   const Consume& consume) {
  const hn::RebindToUnsigned<DF> du;
  const hn::RebindToSigned<DF> di;
  static_assert(hn::MaxLanes(df) <= 16);
  constexpr int64_t kStep = static_cast<int64_t>(hn::MaxLanes(df));
  // Unsigned compares are signed ones here: 16 bits never reach the sign.
  const auto last_dropped = hn::Set(di, static_cast<int32_t>(stream.threshold) - 1);
  const uint64_t position = static_cast<uint64_t>(row * stream.blocks_per_row + block) * 16;
  for (int64_t lane = 0; lane < 16; lane += kStep) {
    const auto words =
        PhiloxLanes(du, stream.key, position + static_cast<uint64_t>(lane), stream.sample);
#pragma GCC unroll 4
    for (int64_t pair = 0; pair < 4; ++pair) {
      const auto low = hn::And(words.word[pair], hn::Set(du, 0xffffu));
      const auto high = hn::ShiftRight<16>(words.word[pair]);
      consume(pair * 32 + lane, hn::RebindMask(df, hn::Gt(hn::BitCast(di, low), last_dropped)));
      consume(pair * 32 + 16 + lane,
              hn::RebindMask(df, hn::Gt(hn::BitCast(di, high), last_dropped)));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_PHILOX_VECTOR_H_
