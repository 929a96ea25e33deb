#include "kernels/api/elementwise.h"

#include "core/integer_math.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// Squares of floats are exact in double. Four sums, or the additions' latency would be what counts.
template <bool kDifference, typename T>
HWY_INLINE double SumOfSquaresIn(const T* x, const T* minus, int64_t begin, int64_t end) {
  const hn::CappedTag<double, 8> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(dd));
  const auto add_squares = [&](hn::Vec<decltype(dd)> sum, int64_t k, auto memory) HWY_ATTR {
    auto wide = hn::PromoteTo(dd, memory.Load(df, x + k));
    if constexpr (kDifference) {
      wide = hn::Sub(wide, hn::PromoteTo(dd, memory.Load(df, minus + k)));
    }
    return hn::MulAdd(wide, wide, sum);
  };
  auto sum0 = hn::Zero(dd), sum1 = hn::Zero(dd), sum2 = hn::Zero(dd), sum3 = hn::Zero(dd);
  int64_t i = begin;
  for (; i + 4 * lanes <= end; i += 4 * lanes) {
    sum0 = add_squares(sum0, i, WholeVector());
    sum1 = add_squares(sum1, i + lanes, WholeVector());
    sum2 = add_squares(sum2, i + 2 * lanes, WholeVector());
    sum3 = add_squares(sum3, i + 3 * lanes, WholeVector());
  }
  ForEachVector(df, i, end,
                [&](int64_t k, auto memory) HWY_ATTR { sum0 = add_squares(sum0, k, memory); });
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  return hn::GetLane(hn::SumOfLanes(dd, sum));
}

template <typename From, typename To>
HWY_INLINE void ConvertIn(const From* x, To* y, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    memory.Store(df, memory.Load(df, x + i), y + i);
  });
}

template <typename T>
HWY_INLINE void AddIn(const T* x, T* y, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    memory.Store(df, hn::Add(memory.Load(df, y + i), memory.Load(df, x + i)), y + i);
  });
}

double SumOfSquaresFloat(const float* x, const float* minus, int64_t begin, int64_t end) {
  return minus == nullptr ? SumOfSquaresIn<false>(x, minus, begin, end)
                          : SumOfSquaresIn<true>(x, minus, begin, end);
}
double SumOfSquaresBf16(const bf16* x, const bf16* minus, int64_t begin, int64_t end) {
  return minus == nullptr ? SumOfSquaresIn<false>(x, minus, begin, end)
                          : SumOfSquaresIn<true>(x, minus, begin, end);
}
void ConvertFloatToBf16(const float* x, bf16* y, int64_t begin, int64_t end) {
  ConvertIn(x, y, begin, end);
}
void ConvertBf16ToFloat(const bf16* x, float* y, int64_t begin, int64_t end) {
  ConvertIn(x, y, begin, end);
}
void AddFloat(const float* x, float* y, int64_t begin, int64_t end) { AddIn(x, y, begin, end); }
void AddBf16(const bf16* x, bf16* y, int64_t begin, int64_t end) { AddIn(x, y, begin, end); }

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cstring>
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(SumOfSquaresFloat);
HWY_EXPORT(SumOfSquaresBf16);
HWY_EXPORT(ConvertFloatToBf16);
HWY_EXPORT(ConvertBf16ToFloat);
HWY_EXPORT(AddFloat);
HWY_EXPORT(AddBf16);

constexpr int64_t kElementsPerGrain = 16384;
constexpr int64_t kMostBlocks = 1024;

}  // namespace

namespace cpu {

template <typename T>
double SumOfSquares(const T* x, int64_t count, const T* minus) {
  const int64_t block = std::max(kElementsPerGrain, RoundUp(CeilDiv(count, kMostBlocks), 64));
  const int64_t blocks = CeilDiv(count, block);
  double sums[kMostBlocks];
  ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block, last = std::min(count, (b + 1) * block);
      if constexpr (std::is_same_v<T, float>) {
        sums[b] = HWY_DYNAMIC_DISPATCH(SumOfSquaresFloat)(x, minus, first, last);
      } else {
        sums[b] = HWY_DYNAMIC_DISPATCH(SumOfSquaresBf16)(x, minus, first, last);
      }
    }
  });
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += sums[b];
  return sum;
}

template <typename From, typename To>
void Convert(const From* x, To* y, int64_t count) {
  ParallelFor(count, kElementsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<From, float>) {
      HWY_DYNAMIC_DISPATCH(ConvertFloatToBf16)(x, y, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(ConvertBf16ToFloat)(x, y, begin, end);
    }
  });
}

template <typename T>
void AddInPlace(const T* x, T* y, int64_t count) {
  ParallelFor(count, kElementsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(AddFloat)(x, y, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(AddBf16)(x, y, begin, end);
    }
  });
}

void ZeroFill(void* memory, int64_t bytes) {
  ParallelFor(bytes, 4 * kElementsPerGrain, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(memory) + begin, 0, static_cast<size_t>(end - begin));
  });
}

void Copy(const void* from, void* to, int64_t bytes) {
  ParallelFor(bytes, 4 * kElementsPerGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<size_t>(end - begin));
  });
}

template double SumOfSquares(const float* x, int64_t count, const float* minus);
template double SumOfSquares(const bf16* x, int64_t count, const bf16* minus);
template void Convert(const float* x, bf16* y, int64_t count);
template void Convert(const bf16* x, float* y, int64_t count);
template void AddInPlace(const float* x, float* y, int64_t count);
template void AddInPlace(const bf16* x, bf16* y, int64_t count);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
