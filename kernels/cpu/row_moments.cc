// A row is read twice, out of the cache the second time; channels are summed row by row, so that
// memory is read in its order.
#include "kernels/api/row_moments.h"

#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_moments.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// memory.Load gives floats; a vector of doubles has half of them.
template <typename T>
HWY_INLINE RowMomentSums MomentsOfRow(const T* row, int64_t columns) {
  const hn::CappedTag<double, 8> dd;
  const hn::Rebind<float, decltype(dd)> df;
  const auto zero = hn::Zero(dd);
  auto sum = zero, largest = zero;
  ForEachVector(df, 0, columns, [&](int64_t c, auto memory) HWY_ATTR {
    const auto x = hn::PromoteTo(dd, memory.Load(df, row + c));
    sum = hn::Add(sum, x);
    largest = hn::Max(largest, hn::Abs(x));
  });
  RowMomentSums moments;
  moments.mean = hn::GetLane(hn::SumOfLanes(dd, sum)) / static_cast<double>(columns);
  moments.largest =
      moments.mean != moments.mean ? moments.mean : hn::GetLane(hn::MaxOfLanes(dd, largest));
  const auto mean = hn::Set(dd, moments.mean);
  auto second = zero, third = zero, fourth = zero;
  ForEachVector(df, 0, columns, [&](int64_t c, auto memory) HWY_ATTR {
    const auto x = hn::PromoteTo(dd, memory.Load(df, row + c));
    const auto d = memory.Keep(dd, hn::Sub(x, mean), zero), square = hn::Mul(d, d);
    second = hn::Add(second, square);
    third = hn::MulAdd(square, d, third);
    fourth = hn::MulAdd(square, square, fourth);
  });
  moments.second = hn::GetLane(hn::SumOfLanes(dd, second));
  moments.third = hn::GetLane(hn::SumOfLanes(dd, third));
  moments.fourth = hn::GetLane(hn::SumOfLanes(dd, fourth));
  return moments;
}

template <typename T>
HWY_INLINE void MomentsIn(const RowMomentsArgs<T>& args, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; ++n) {
    args.moments[n] = MomentsOfRow(args.x + n * args.row_stride, args.C);
  }
}

// Of channels [begin, end) of one group.
template <typename T>
HWY_INLINE void SquaresIn(const RowMomentsArgs<T>& args, int64_t group, int64_t begin,
                          int64_t end) {
  const hn::CappedTag<double, 8> dd;
  const hn::Rebind<float, decltype(dd)> df;
  double* sums = args.squares + group * args.C;
  for (int64_t c = begin; c < end; ++c) sums[c] = 0;
  for (int64_t n = group * args.group; n < (group + 1) * args.group; ++n) {
    const T* row = args.x + n * args.row_stride;
    const auto lanes = static_cast<int64_t>(hn::Lanes(dd));
    int64_t c = begin;
    for (; c + lanes <= end; c += lanes) {
      const auto x = hn::PromoteTo(dd, LoadFloats(df, row + c));
      hn::StoreU(hn::MulAdd(x, x, hn::LoadU(dd, sums + c)), dd, sums + c);
    }
    for (; c < end; ++c) {
      const double x = static_cast<double>(static_cast<float>(row[c]));
      sums[c] += x * x;
    }
  }
}

void MomentsFloat(const RowMomentsArgs<float>& args, int64_t begin, int64_t end) {
  MomentsIn(args, begin, end);
}
void MomentsBf16(const RowMomentsArgs<bf16>& args, int64_t begin, int64_t end) {
  MomentsIn(args, begin, end);
}
void SquaresFloat(const RowMomentsArgs<float>& args, int64_t group, int64_t begin, int64_t end) {
  SquaresIn(args, group, begin, end);
}
void SquaresBf16(const RowMomentsArgs<bf16>& args, int64_t group, int64_t begin, int64_t end) {
  SquaresIn(args, group, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(MomentsFloat);
HWY_EXPORT(MomentsBf16);
HWY_EXPORT(SquaresFloat);
HWY_EXPORT(SquaresBf16);

}  // namespace

namespace cpu {

template <typename T>
absl::Status RowMoments(const RowMomentsArgs<T>& args) {
  ParallelFor(args.N, /*grain=*/16, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(MomentsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(MomentsBf16)(args, begin, end);
    }
  });
  ParallelFor(args.C, /*grain=*/64, [&](int64_t begin, int64_t end) {
    for (int64_t group = 0; group < args.N / args.group; ++group) {
      if constexpr (std::is_same_v<T, float>) {
        HWY_DYNAMIC_DISPATCH(SquaresFloat)(args, group, begin, end);
      } else {
        HWY_DYNAMIC_DISPATCH(SquaresBf16)(args, group, begin, end);
      }
    }
  });
  return absl::OkStatus();
}

template absl::Status RowMoments(const RowMomentsArgs<float>& args);
template absl::Status RowMoments(const RowMomentsArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
