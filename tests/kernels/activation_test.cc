#include "kernels/api/activation.h"

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/finite_difference.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(ActivationForward, ActivationForwardArgs);
SLUICE_BACKEND_OP(ActivationBackward, ActivationBackwardArgs);

using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectGradient;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::Tolerance;
using ::sluice::testing::UnderflowError;
using ::sluice::testing::UnitRoundoff;
using ::sluice::testing::Widen;

template <typename T>
class ActivationTest : public ::testing::Test {};
TYPED_TEST_SUITE(ActivationTest, ::sluice::testing::StorageTypes);

constexpr Activation kAll[] = {Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
                               Activation::kTanh};

template <typename T>
PoisonedBuffer<T> Forward(Activation activation, const std::vector<T>& input) {
  const auto x = OnBackend(input);
  const auto count = static_cast<int64_t>(x.size());
  PoisonedBuffer<T> y(count, sizeof(T) * (count % 5));
  const ActivationForwardArgs<T> args = {x.data(), y.data(), count, activation};
  if constexpr (std::is_same_v<T, double>) {
    reference::ActivationForward(args);
  } else {
    EXPECT_TRUE(backend::ActivationForward<T>(args).ok());
  }
  y.ExpectCanariesIntact();
  return y;
}

template <typename T>
PoisonedBuffer<T> Backward(Activation activation, const std::vector<T>& input,
                           const std::vector<T>& output_gradient) {
  const auto x = OnBackend(input), dy = OnBackend(output_gradient);
  const auto count = static_cast<int64_t>(x.size());
  PoisonedBuffer<T> dx(count, sizeof(T) * (count % 5));
  const ActivationBackwardArgs<T> args = {x.data(), dy.data(), dx.data(), count, activation};
  if constexpr (std::is_same_v<T, double>) {
    reference::ActivationBackward(args);
  } else {
    EXPECT_TRUE(backend::ActivationBackward<T>(args).ok());
  }
  dx.ExpectCanariesIntact();
  return dx;
}

// The stated errors of kernels/cpu/vector_math.h and one more product. `exponent`: the largest
// exponent of an exponential, whose rounding grows with it. Below 14 · 2^-126 results may flush to
// zero.
template <typename T>
Tolerance ValueTolerance(double exponent) {
  return {.absolute = 2e-37 + UnderflowError<T>(),
          .relative = 6e-7 + 1.5e-7 * exponent + UnitRoundoff<T>(),
          .derivation = "error of the vector functions, one product, rounded to T"};
}

// Slopes are sums of parts up to 1.2 in size and may cancel.
template <typename T>
Tolerance SlopeTolerance() {
  return {.absolute = 1.5e-6,
          .relative = UnitRoundoff<T>() + 1e-6,
          .derivation = "two parts up to 1.2, each with the error of the vector functions"};
}

TYPED_TEST(ActivationTest, MatchesReferenceAtAnyLength) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const Activation activation : kAll) {
      for (const int64_t count : {0, 1, 2, 15, 16, 17, 31, 32, 33, 1000, 9001}) {
        SCOPED_TRACE(::testing::Message()
                     << "activation " << static_cast<int>(activation) << " count " << count);
        const auto x = Cast<T>(RandomValues(count, 100 + count, -4, 4));
        const auto dy = Cast<T>(RandomValues(count, 200 + count));
        ExpectClose("y", Forward(activation, x), Forward(activation, Widen(x)),
                    ValueTolerance<T>(12).WithZeros());
        ExpectClose("dx", Backward(activation, x, dy), Backward(activation, Widen(x), Widen(dy)),
                    SlopeTolerance<T>().WithZeros());
      }
    }
  });
}

// Dense grids of the whole range: the error of the far negative tail stays relative.
TEST(ActivationAccuracyTest, KeepsItsRelativeErrorOverTheWholeRange) {
  OnEachInstructionSet([] {
    for (const Activation activation : kAll) {
      for (double low = -14; low < 14; low += 2) {
        SCOPED_TRACE(::testing::Message()
                     << "activation " << static_cast<int>(activation) << " from " << low);
        const auto x = Cast<float>(RandomValues(10000, 7, low, low + 2));
        const double largest = std::max(std::abs(low), std::abs(low + 2));
        // gelu_tanh: 2u = 1.6 (x + 0.0447 x³). The others: x² / 2.
        const double exponent = activation == Activation::kGeluTanh
                                    ? 1.6 * (largest + 0.0448 * std::pow(largest, 3))
                                    : largest * largest / 2;
        ExpectClose("y", Forward(activation, x), Forward(activation, Widen(x)),
                    ValueTolerance<float>(low < 0 ? exponent : 0).WithZeros());
        const std::vector<float> ones(x.size(), 1.0f);
        ExpectClose("dx", Backward(activation, x, ones),
                    Backward(activation, Widen(x), Widen(ones)),
                    SlopeTolerance<float>().WithZeros());
      }
    }
  });
}

TEST(ActivationAccuracyTest, KeepsSmallValues) {
  std::vector<float> x;
  for (int exponent = -126; exponent < 0; ++exponent) {
    for (const float mantissa : {1.0f, -1.37f, 1.99f}) x.push_back(std::ldexp(mantissa, exponent));
  }
  OnEachInstructionSet([&] {
    for (const Activation activation : kAll) {
      ExpectClose("y", Forward(activation, x), Forward(activation, Widen(x)),
                  ValueTolerance<float>(0.5));
    }
  });
}

TEST(ActivationAccuracyTest, SpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {std::nanf(""), infinity, 1e30f, -1e30f, 0.0f, -0.0f};
  const std::vector<float> ones(x.size(), 1.0f);
  OnEachInstructionSet([&] {
    for (const Activation activation : kAll) {
      SCOPED_TRACE(static_cast<int>(activation));
      const bool saturates = activation == Activation::kTanh;
      const auto y = Forward(activation, x);
      EXPECT_TRUE(std::isnan(y[0]));
      EXPECT_EQ(y[1], saturates ? 1 : infinity);
      EXPECT_EQ(y[2], saturates ? 1 : 1e30f);
      EXPECT_EQ(y[3], saturates ? -1 : 0);
      EXPECT_EQ(y[4], 0);
      EXPECT_EQ(y[5], 0);
      const auto dx = Backward(activation, x, ones);
      EXPECT_EQ(std::isnan(dx[0]), activation != Activation::kRelu);
      EXPECT_EQ(dx[2], saturates ? 0 : 1);
      EXPECT_EQ(dx[3], 0);
      const bool gelu = activation == Activation::kGeluErf || activation == Activation::kGeluTanh;
      EXPECT_NEAR(dx[4], gelu ? 0.5 : saturates ? 1 : 0, 1e-7);
    }
  });
}

TEST(ActivationReferenceTest, BackwardIsTheGradientOfForward) {
  for (const Activation activation : kAll) {
    SCOPED_TRACE(static_cast<int>(activation));
    auto x = RandomValues(40, 9, -3, 3);
    const auto dy = RandomValues(40, 10);
    const auto loss = [&] {
      const auto y = Forward(activation, x);
      double total = 0;
      for (size_t i = 0; i < x.size(); ++i) total += y[i] * dy[i];
      return total;
    };
    const auto dx = Backward(activation, x, dy);
    ExpectGradient("x", x, {dx.values().begin(), dx.values().end()}, loss);
  }
}

TYPED_TEST(ActivationTest, InPlaceOnAnyThreadsGivesTheSameBits) {
  using T = TypeParam;
  const auto x = Cast<T>(RandomValues(20011, 1, -5, 5)), dy = Cast<T>(RandomValues(20011, 2));
  for (const Activation activation : kAll) {
    const auto y = Forward(activation, x), dx = Backward(activation, x, dy);
    for (const int threads : {1, 2, 3}) {
      const ScopedComputeThreads scope(threads);
      const auto inputs = OnBackend(x);
      auto in_place = OnBackend(x), gradient = OnBackend(dy);
      const auto count = static_cast<int64_t>(x.size());
      ASSERT_TRUE(backend::ActivationBackward<T>(
                      {inputs.data(), gradient.data(), gradient.data(), count, activation})
                      .ok());
      ASSERT_TRUE(
          backend::ActivationForward<T>({in_place.data(), in_place.data(), count, activation})
              .ok());
      ExpectSameBits<T>("y", in_place, y.values());
      ExpectSameBits<T>("dx", gradient, dx.values());
    }
  }
}

}  // namespace
}  // namespace sluice
