#include "kernels/api/elementwise.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using ::sluice::testing::BackendVector;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::kOnCuda;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::RunOnBackend;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::Tolerance;
using ::sluice::testing::Widen;

template <typename T>
class ElementwiseTest : public ::testing::Test {};
TYPED_TEST_SUITE(ElementwiseTest, ::sluice::testing::StorageTypes);

template <typename T>
double SumOfSquares(const T* x, int64_t count, const T* minus = nullptr) {
  if constexpr (kOnCuda) {
    BackendVector<double> sum(1);
    BackendVector<uint8_t> workspace(cuda::SumOfSquaresWorkspaceBytes());
    EXPECT_TRUE(
        RunOnBackend([&](cuda::Stream stream) {
          return cuda::SumOfSquares<T>({x, count, sum.data(), workspace.data(), minus}, stream);
        }).ok());
    return sum[0];
  } else {
    return cpu::SumOfSquares<T>(x, count, minus);
  }
}

template <typename From, typename To>
void Convert(const From* x, To* y, int64_t count) {
  if constexpr (kOnCuda) {
    EXPECT_TRUE(
        RunOnBackend([&](cuda::Stream stream) { return cuda::Convert(x, y, count, stream); }).ok());
  } else {
    cpu::Convert(x, y, count);
  }
}

template <typename T>
void AddInPlace(const T* x, T* y, int64_t count) {
  if constexpr (kOnCuda) {
    EXPECT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                  return cuda::AddInPlace(x, y, count, stream);
                }).ok());
  } else {
    cpu::AddInPlace(x, y, count);
  }
}

void CopyBytes(const void* from, void* to, int64_t bytes) {
  if constexpr (kOnCuda) {
    EXPECT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                  return cuda::Copy(from, to, bytes, stream);
                }).ok());
  } else {
    cpu::Copy(from, to, bytes);
  }
}

void ZeroFill(void* memory, int64_t bytes) {
  if constexpr (kOnCuda) {
    EXPECT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                  return cuda::ZeroFill(memory, bytes, stream);
                }).ok());
  } else {
    cpu::ZeroFill(memory, bytes);
  }
}

const int64_t kCounts[] = {0, 1, 2, 15, 16, 17, 33, 65, 1000, 16384, 16385, 50001};

TYPED_TEST(ElementwiseTest, SumOfSquaresMatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t count : kCounts) {
      SCOPED_TRACE(count);
      const auto x = Cast<T>(RandomValues(count, count, -3, 3));
      PoisonedBuffer<T> misaligned(count, 3 * sizeof(T));
      std::copy(x.begin(), x.end(), misaligned.data());
      const auto wide = Widen(x);
      const std::vector<double> actual = {SumOfSquares<T>(misaligned.data(), count)};
      const std::vector<double> expected = {reference::SumOfSquares(wide.data(), count)};
      ExpectClose("sum", actual, expected,
                  Tolerance{.relative = 2.2e-16 * static_cast<double>(count + 1),
                            .derivation = "both sums in double"}
                      .WithZeros());
    }
  });
}

// A difference of two stored values is exact in double, or off by one rounding where their sizes
// are far apart.
TYPED_TEST(ElementwiseTest, SumOfSquaredDifferencesMatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t count : kCounts) {
      for (const size_t offset : {0, 3}) {
        SCOPED_TRACE(::testing::Message() << count << " offset " << offset);
        const auto x = Cast<T>(RandomValues(count, count, -3, 3));
        const auto minus = OnBackend(Cast<T>(RandomValues(count, count + 1, -3, 3)));
        PoisonedBuffer<T> placed(count, offset * sizeof(T));
        std::copy(x.begin(), x.end(), placed.data());
        const auto wide = Widen(x), wide_minus = Widen(minus);
        const std::vector<double> actual = {SumOfSquares<T>(placed.data(), count, minus.data())};
        const std::vector<double> expected = {
            reference::SumOfSquares(wide.data(), count, wide_minus.data())};
        ExpectClose("sum", actual, expected,
                    Tolerance{.relative = 2.2e-16 * static_cast<double>(count + 3),
                              .derivation = "both sums in double"}
                        .WithZeros());
      }
    }
  });
}

// A step that is lost in the float difference of large numbers is not lost here.
TEST(ElementwiseFloatTest, DifferencesAreOfDoubles) {
  const BackendVector<float> x = {1.0f}, minus = {0x1.fffffep-30f};
  const double difference = 1.0 - 0x1.fffffep-30;
  EXPECT_EQ(SumOfSquares(x.data(), 1, minus.data()), difference * difference);
}

TEST(ElementwiseFloatTest, CopyIsTheSameBytes) {
  for (const int64_t count : kCounts) {
    const auto from = OnBackend(Cast<float>(RandomValues(count, count)));
    PoisonedBuffer<float> to(count, 4);
    CopyBytes(from.data(), to.data(), count * 4);
    to.ExpectCanariesIntact();
    for (int64_t i = 0; i < count; ++i) ASSERT_EQ(to.data()[i], from[i]);
  }
}

TYPED_TEST(ElementwiseTest, SumOfSquaresDoesNotDependOnThreads) {
  using T = TypeParam;
  const auto x = OnBackend(Cast<T>(RandomValues(1'200'007, 1)));
  const auto count = static_cast<int64_t>(x.size());
  const double once = SumOfSquares<T>(x.data(), count);
  for (const int threads : {1, 2, 3, 7}) {
    const ScopedComputeThreads scope(threads);
    EXPECT_EQ(SumOfSquares<T>(x.data(), count), once) << threads;
  }
}

TYPED_TEST(ElementwiseTest, SumOfSquaresLetsNaNAndInfinityThrough) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t place : {0, 70, 98}) {
      BackendVector<T> x(99, T(1.0f));
      x[place] = T(std::numeric_limits<float>::infinity());
      EXPECT_TRUE(std::isinf(SumOfSquares<T>(x.data(), 99))) << place;
      x[place] = T(std::nanf(""));
      EXPECT_TRUE(std::isnan(SumOfSquares<T>(x.data(), 99))) << place;
    }
  });
}

// Squares of large floats overflow in float, not in double.
TEST(ElementwiseFloatTest, SumOfSquaresDoesNotOverflow) {
  const BackendVector<float> x(3, 1e30f);
  EXPECT_NEAR(SumOfSquares(x.data(), 3) / 3e60, 1, 1e-6);
}

// Every upper half of a float, with lower halves around each rounding decision: ties, their
// neighbours, the carry into the exponent, subnormals, infinities and NaN.
template <typename Half>
void ExpectConvertRoundsLike() {
  BackendVector<float> x;
  for (uint32_t upper = 0; upper < 0x10000; upper += 5) {
    for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      x.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const auto count = static_cast<int64_t>(x.size());
  OnEachInstructionSet([&] {
    PoisonedBuffer<Half> y(count, 2);
    Convert(x.data(), y.data(), count);
    y.ExpectCanariesIntact();
    for (int64_t i = 0; i < count; ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(static_cast<float>(y[i])));
      } else {
        ASSERT_EQ(y[i].bits, Half(x[i]).bits) << std::bit_cast<uint32_t>(x[i]);
      }
    }
    PoisonedBuffer<float> back(count, 4);
    Convert(y.data(), back.data(), count);
    back.ExpectCanariesIntact();
    for (int64_t i = 0; i < count; ++i) {
      const auto expected = std::bit_cast<uint32_t>(static_cast<float>(y[i]));
      if (std::isnan(back[i])) {
        ASSERT_TRUE(std::isnan(static_cast<float>(y[i])));
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), expected);
      }
    }
  });
}
TEST(ElementwiseFloatTest, ConvertRoundsLikeTheScalarType) {
  ExpectConvertRoundsLike<bf16>();
  if constexpr (kOnCuda) ExpectConvertRoundsLike<fp16>();
}

TYPED_TEST(ElementwiseTest, AddInPlaceIsOneRoundedAddition) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t count : kCounts) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(::testing::Message() << "count " << count << " threads " << threads);
        const ScopedComputeThreads scope(threads);
        const auto x = OnBackend(Cast<T>(RandomValues(count, 1)));
        const auto y = Cast<T>(RandomValues(count, 2));
        PoisonedBuffer<T> sum(count, sizeof(T));
        std::copy(y.begin(), y.end(), sum.data());
        AddInPlace(x.data(), sum.data(), count);
        sum.ExpectCanariesIntact();
        std::vector<T> expected(count);
        for (int64_t i = 0; i < count; ++i) {
          expected[i] = T(static_cast<float>(x[i]) + static_cast<float>(y[i]));
        }
        ExpectSameBits<T>("sum", sum.values(), expected);
      }
    }
  });
}

TEST(ElementwiseFloatTest, ZeroFillSetsEveryByteAndNoOther) {
  for (const int64_t bytes : {0, 1, 63, 65536, 65537, 200'001}) {
    for (const int threads : {1, 3}) {
      const ScopedComputeThreads scope(threads);
      PoisonedBuffer<uint8_t> memory(bytes, 3);
      ZeroFill(memory.data(), bytes);
      memory.ExpectCanariesIntact();
      for (const uint8_t byte : memory.values()) ASSERT_EQ(byte, 0);
    }
  }
}

}  // namespace
}  // namespace sluice
