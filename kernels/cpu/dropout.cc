#include "kernels/api/dropout.h"

#include "core/bf16.h"
#include "core/check.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/dropout_row.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE void DropoutRows(const DropoutArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  for (int64_t n = begin; n < end; ++n) {
    const T* x = args.x + n * args.C;
    T* y = args.y + n * args.C;
    ForEachDropoutVector(df, args.dropout, n, args.C,
                         [&](int64_t c, auto memory, auto factor) HWY_ATTR {
                           memory.Store(df, hn::Mul(memory.Load(df, x + c), factor), y + c);
                         });
  }
}

void DropoutRowsFloat(const DropoutArgs<float>& args, int64_t begin, int64_t end) {
  DropoutRows(args, begin, end);
}
void DropoutRowsBf16(const DropoutArgs<bf16>& args, int64_t begin, int64_t end) {
  DropoutRows(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cstring>
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(DropoutRowsFloat);
HWY_EXPORT(DropoutRowsBf16);

}  // namespace

namespace cpu {

template <typename T>
absl::Status DropoutForward(const DropoutArgs<T>& args) {
  constexpr int64_t kRowsPerGrain = 8;
  if (args.dropout.enabled()) CHECK_GE(args.dropout.rows_per_sample, 1);
  ParallelFor(args.N, kRowsPerGrain, [&](int64_t begin, int64_t end) {
    if (!args.dropout.enabled()) {
      if (args.y != args.x) {
        std::memcpy(static_cast<void*>(args.y + begin * args.C), args.x + begin * args.C,
                    static_cast<size_t>((end - begin) * args.C) * sizeof(T));
      }
    } else if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(DropoutRowsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(DropoutRowsBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status DropoutForward(const DropoutArgs<float>& args);
template absl::Status DropoutForward(const DropoutArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
