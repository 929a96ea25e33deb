// Bound by memory: 24 bytes an element go through (26 with a bf16 copy), each touched once.
#include "kernels/api/sgd.h"

#include "kernels/cpu/highway_targets.h"
#include "kernels/cpu/update_segments.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sgd.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void UpdateRange(const SgdArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  const auto momentum = hn::Set(df, args.momentum), rate = hn::Set(df, args.learning_rate);
  const auto gradient_scale = hn::Set(df, args.gradient_scale);
  ForEachSegment(args.segments, args.segment_count, begin, end,
                 [&](float weight_decay, int64_t first, int64_t last) HWY_ATTR {
                   const auto decay = hn::Set(df, weight_decay);
                   ForEachVector(df, first, last, [&](int64_t i, auto memory) HWY_ATTR {
                     auto w = memory.Load(df, args.master + i);
                     const auto g = hn::MulAdd(memory.Load(df, args.gradient + i), gradient_scale,
                                               hn::Mul(decay, w));
                     const auto b =
                         hn::MulAdd(momentum, memory.Load(df, args.momentum_buffer + i), g);
                     w = hn::NegMulAdd(rate, b, w);
                     memory.Store(df, b, args.momentum_buffer + i);
                     memory.Store(df, w, args.master + i);
                     memory.Store(df, hn::Zero(df), args.gradient + i);
                     if (args.working != nullptr) memory.Store(df, w, args.working + i);
                   });
                 });
}

void UpdateRangeFloat(const SgdArgs<float>& args, int64_t begin, int64_t end) {
  UpdateRange(args, begin, end);
}
void UpdateRangeBf16(const SgdArgs<bf16>& args, int64_t begin, int64_t end) {
  UpdateRange(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(UpdateRangeFloat);
HWY_EXPORT(UpdateRangeBf16);

}  // namespace

namespace cpu {

template <typename T>
absl::Status Sgd(const SgdArgs<T>& args) {
  ForEachStretch(args.segments, args.segment_count, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(UpdateRangeFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(UpdateRangeBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status Sgd(const SgdArgs<float>& args);
template absl::Status Sgd(const SgdArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
