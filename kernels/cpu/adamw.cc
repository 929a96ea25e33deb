// Bound by memory: 32 bytes an element go through (34 with a bf16 copy), each touched once.
#include "kernels/api/adamw.h"

#include "kernels/cpu/highway_targets.h"
#include "kernels/cpu/update_segments.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adamw.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

#ifndef SLUICE_KERNELS_CPU_ADAMW_ONCE_
#define SLUICE_KERNELS_CPU_ADAMW_ONCE_
namespace sluice {
namespace {

// What a step multiplies by, worked out in double and rounded once.
struct AdamWFactors {
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float step;            // learning rate / (1 - β1^t)
  float root_of_second;  // 1 / sqrt(1 - β2^t)
};

}  // namespace
}  // namespace sluice
#endif

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void UpdateSegmentOf(const AdamWArgs<T>& args, const AdamWFactors& factors,
                                float weight_decay, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  const auto beta1 = hn::Set(df, factors.beta1), beta2 = hn::Set(df, factors.beta2);
  const auto one_minus_beta1 = hn::Set(df, factors.one_minus_beta1);
  const auto one_minus_beta2 = hn::Set(df, factors.one_minus_beta2);
  const auto step = hn::Set(df, factors.step);
  const auto root_of_second = hn::Set(df, factors.root_of_second);
  const auto eps = hn::Set(df, args.eps);
  const auto gradient_scale = hn::Set(df, args.gradient_scale);
  const auto decay = hn::Set(df, args.learning_rate * weight_decay);
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    const auto g = hn::Mul(memory.Load(df, args.gradient + i), gradient_scale);
    const auto m = hn::MulAdd(beta1, memory.Load(df, args.m + i), hn::Mul(one_minus_beta1, g));
    const auto v =
        hn::MulAdd(beta2, memory.Load(df, args.v + i), hn::Mul(hn::Mul(one_minus_beta2, g), g));
    const auto denominator = hn::MulAdd(hn::Sqrt(v), root_of_second, eps);
    auto w = memory.Load(df, args.master + i);
    w = hn::NegMulAdd(decay, w, w);
    w = hn::NegMulAdd(step, hn::Div(m, denominator), w);
    memory.Store(df, m, args.m + i);
    memory.Store(df, v, args.v + i);
    memory.Store(df, w, args.master + i);
    memory.Store(df, hn::Zero(df), args.gradient + i);
    if (args.working != nullptr) memory.Store(df, w, args.working + i);
  });
}

// The parts of the segments that lie in [begin, end).
template <typename T>
HWY_INLINE void UpdateRange(const AdamWArgs<T>& args, const AdamWFactors& factors, int64_t begin,
                            int64_t end) {
  ForEachSegment(args.segments, args.segment_count, begin, end,
                 [&](float weight_decay, int64_t first, int64_t last)
                     HWY_ATTR { UpdateSegmentOf(args, factors, weight_decay, first, last); });
}

void UpdateRangeFloat(const AdamWArgs<float>& args, const AdamWFactors& factors, int64_t begin,
                      int64_t end) {
  UpdateRange(args, factors, begin, end);
}
void UpdateRangeBf16(const AdamWArgs<bf16>& args, const AdamWFactors& factors, int64_t begin,
                     int64_t end) {
  UpdateRange(args, factors, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>
#include <type_traits>

#include "core/check.h"

namespace sluice {
namespace {

HWY_EXPORT(UpdateRangeFloat);
HWY_EXPORT(UpdateRangeBf16);

template <typename T>
AdamWFactors Factors(const AdamWArgs<T>& args) {
  const double beta1 = args.beta1, beta2 = args.beta2, t = static_cast<double>(args.t);
  return {.beta1 = args.beta1,
          .one_minus_beta1 = static_cast<float>(1 - beta1),
          .beta2 = args.beta2,
          .one_minus_beta2 = static_cast<float>(1 - beta2),
          .step = static_cast<float>(args.learning_rate / (1 - std::pow(beta1, t))),
          .root_of_second = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t)))};
}

}  // namespace

namespace cpu {

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args) {
  CHECK_GE(args.t, 1);
  const AdamWFactors factors = Factors(args);
  ForEachStretch(args.segments, args.segment_count, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(UpdateRangeFloat)(args, factors, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(UpdateRangeBf16)(args, factors, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status AdamW(const AdamWArgs<float>& args);
template absl::Status AdamW(const AdamWArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
