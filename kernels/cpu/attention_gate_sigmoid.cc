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

void SigmoidForward(float* gate, const GateCurve<float>& curve, int64_t begin, int64_t end) {
  const SigmoidTag df;
  const auto steepness = hn::Set(df, curve.steepness), scale = hn::Set(df, curve.scale);
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    const auto logit = hn::Mul(steepness, memory.Load(df, gate + i));
    memory.Store(df, hn::Mul(scale, Logistic(df, logit).value), gate + i);
  });
}

template <typename T>
void SigmoidBackward(const GateSigmoidBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const SigmoidTag df;
  const auto one = hn::Set(df, 1.0f), steepness = hn::Set(df, args.curve.steepness);
  const auto inverse_scale = hn::Set(df, 1 / args.curve.scale);
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    const auto g = memory.Load(df, args.gate + i);
    const auto closed = hn::Sub(one, hn::Mul(g, inverse_scale));
    const auto slope = hn::Mul(hn::Mul(steepness, g), closed);
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
    HWY_DYNAMIC_DISPATCH(SigmoidForward)(args.gate, args.curve, begin, end);
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
