// The elementwise part of a gate a channel: logits become gates, gradients of gates those of
// logits.
#include "kernels/api/attention_gate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_gate_sigmoid.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_memory.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using SigmoidTag = hn::CappedTag<float, 16>;

void SigmoidForward(float* gate, int64_t begin, int64_t end) {
  const SigmoidTag df;
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    memory.Store(df, Logistic(df, memory.Load(df, gate + i)).value, gate + i);
  });
}

template <typename T>
void SigmoidBackward(const GateSigmoidBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const SigmoidTag df;
  const auto one = hn::Set(df, 1.0f);
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    const auto g = memory.Load(df, args.gate + i);
    const auto slope = hn::Mul(g, hn::Sub(one, g));
    memory.Store(df, hn::Mul(memory.Load(df, args.dgate + i), slope), args.dlogits + i);
  });
}

void SigmoidBackwardFloat(const GateSigmoidBackwardArgs<float>& args, int64_t begin, int64_t end) {
  SigmoidBackward(args, begin, end);
}
void SigmoidBackwardBf16(const GateSigmoidBackwardArgs<bf16>& args, int64_t begin, int64_t end) {
  SigmoidBackward(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

#include "core/parallel.h"

namespace sluice {

HWY_EXPORT(SigmoidForward);
HWY_EXPORT(SigmoidBackwardFloat);
HWY_EXPORT(SigmoidBackwardBf16);

namespace cpu {
namespace {
constexpr int64_t kGrain = 8192;  // elements
}  // namespace

template <typename T>
absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<T>& args) {
  ParallelFor(args.count, kGrain, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SigmoidForward)(args.gate, begin, end);
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<T>& args) {
  ParallelFor(args.count, kGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(SigmoidBackwardFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(SigmoidBackwardBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<float>& args);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<bf16>& args);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<float>& args);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
