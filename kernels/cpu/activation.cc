#include "kernels/api/activation.h"

#include "core/bf16.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

struct GeluErf {
  template <class DF, class V>
  static HWY_INLINE V Value(DF df, V x) {
    return hn::Mul(x, Normal(df, x).cumulative);
  }
  template <class DF, class V>
  static HWY_INLINE V Slope(DF df, V x) {
    const auto normal = Normal(df, x);
    return hn::MulAdd(x, normal.density, normal.cumulative);
  }
};

// (1 + tanh u) / 2 = σ(2u), which does not cancel for negative u.
struct GeluTanh {
  static constexpr float kTwiceRootTwoOverPi = 1.5957691216057308f;

  template <class DF, class V>
  static HWY_INLINE LogisticPair<DF> Share(DF df, V x, V square) {
    const auto inner = hn::MulAdd(hn::Mul(square, hn::Set(df, 0.044715f)), x, x);
    return Logistic(df, hn::Mul(inner, hn::Set(df, kTwiceRootTwoOverPi)));
  }
  template <class DF, class V>
  static HWY_INLINE V Value(DF df, V x) {
    return hn::Mul(x, Share(df, x, hn::Mul(x, x)).value);
  }
  // Beyond |x| = 16 the slope is 0 or 1, and its parts would be infinity times 0.
  template <class DF, class V>
  static HWY_INLINE V Slope(DF df, V x) {
    const auto bounded = hn::Min(hn::Max(x, hn::Set(df, -16.0f)), hn::Set(df, 16.0f));
    const auto square = hn::Mul(bounded, bounded);
    const auto share = Share(df, bounded, square);
    const auto inner_slope =
        hn::Mul(hn::MulAdd(square, hn::Set(df, 3 * 0.044715f), hn::Set(df, 1.0f)),
                hn::Set(df, kTwiceRootTwoOverPi));
    const auto slope = hn::MulAdd(hn::Mul(hn::Mul(bounded, share.value), share.complement),
                                  inner_slope, share.value);
    return hn::IfThenElse(hn::IsNaN(x), x, slope);
  }
};

struct Relu {
  // Not Max: that would turn NaN into 0 on x86.
  template <class DF, class V>
  static HWY_INLINE V Value(DF df, V x) {
    return hn::IfThenZeroElse(hn::Le(x, hn::Zero(df)), x);
  }
  template <class DF, class V>
  static HWY_INLINE V Slope(DF df, V x) {
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(df)), hn::Set(df, 1.0f));
  }
};

struct HyperbolicTangent {
  template <class DF, class V>
  static HWY_INLINE V Value(DF df, V x) {
    return Tanh(df, x);
  }
  // 1 - tanh² x = 4 e / (1 + e)² with e = e^(-2|x|): no cancellation where tanh is near 1.
  template <class DF, class V>
  static HWY_INLINE V Slope(DF df, V x) {
    const auto e = ExpOfNonPositive(df, hn::Mul(hn::Abs(x), hn::Set(df, -2.0f)));
    const auto root = hn::Add(hn::Set(df, 1.0f), e);
    return hn::Div(hn::Mul(hn::Set(df, 4.0f), e), hn::Mul(root, root));
  }
};

template <class Function, typename T>
HWY_INLINE void ForwardWith(const ActivationForwardArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    PrefetchStream(args.x + i);
    memory.Store(df, Function::Value(df, memory.Load(df, args.x + i)), args.y + i);
  });
}

template <class Function, typename T>
HWY_INLINE void BackwardWith(const ActivationBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, begin, end, [&](int64_t i, auto memory) HWY_ATTR {
    PrefetchStream(args.x + i);
    PrefetchStream(args.dy + i);
    const auto slope = Function::Slope(df, memory.Load(df, args.x + i));
    memory.Store(df, hn::Mul(memory.Load(df, args.dy + i), slope), args.dx + i);
  });
}

template <typename T>
HWY_INLINE void Forward(const ActivationForwardArgs<T>& args, int64_t begin, int64_t end) {
  switch (args.activation) {
    case Activation::kGeluErf:
      return ForwardWith<GeluErf>(args, begin, end);
    case Activation::kGeluTanh:
      return ForwardWith<GeluTanh>(args, begin, end);
    case Activation::kRelu:
      return ForwardWith<Relu>(args, begin, end);
    case Activation::kTanh:
      return ForwardWith<HyperbolicTangent>(args, begin, end);
  }
}

template <typename T>
HWY_INLINE void Backward(const ActivationBackwardArgs<T>& args, int64_t begin, int64_t end) {
  switch (args.activation) {
    case Activation::kGeluErf:
      return BackwardWith<GeluErf>(args, begin, end);
    case Activation::kGeluTanh:
      return BackwardWith<GeluTanh>(args, begin, end);
    case Activation::kRelu:
      return BackwardWith<Relu>(args, begin, end);
    case Activation::kTanh:
      return BackwardWith<HyperbolicTangent>(args, begin, end);
  }
}

void ForwardFloat(const ActivationForwardArgs<float>& args, int64_t begin, int64_t end) {
  Forward(args, begin, end);
}
void ForwardBf16(const ActivationForwardArgs<bf16>& args, int64_t begin, int64_t end) {
  Forward(args, begin, end);
}
void BackwardFloat(const ActivationBackwardArgs<float>& args, int64_t begin, int64_t end) {
  Backward(args, begin, end);
}
void BackwardBf16(const ActivationBackwardArgs<bf16>& args, int64_t begin, int64_t end) {
  Backward(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(ForwardFloat);
HWY_EXPORT(ForwardBf16);
HWY_EXPORT(BackwardFloat);
HWY_EXPORT(BackwardBf16);

constexpr int64_t kElementsPerGrain = 4096;

}  // namespace

namespace cpu {

template <typename T>
absl::Status ActivationForward(const ActivationForwardArgs<T>& args) {
  ParallelFor(args.count, kElementsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(ForwardFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(ForwardBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status ActivationBackward(const ActivationBackwardArgs<T>& args) {
  ParallelFor(args.count, kElementsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(BackwardFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(BackwardBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status ActivationForward(const ActivationForwardArgs<float>& args);
template absl::Status ActivationForward(const ActivationForwardArgs<bf16>& args);
template absl::Status ActivationBackward(const ActivationBackwardArgs<float>& args);
template absl::Status ActivationBackward(const ActivationBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
