#include "kernels/api/dropout.h"

#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/parallel.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(DropoutForward, DropoutArgs);

using ::sluice::testing::BackendVector;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::Tolerance;
using ::sluice::testing::UnderflowError;
using ::sluice::testing::UnitRoundoff;
using ::sluice::testing::Widen;

template <typename T>
class DropoutTest : public ::testing::Test {};
TYPED_TEST_SUITE(DropoutTest, ::sluice::testing::StorageTypes);

Dropout MakeDropout(float probability, int64_t rows_per_sample) {
  static const auto samples = OnBackend<int64_t>({17, 0x1'0000'0005, 3});
  return {.probability = probability,
          .key = MakePhiloxKey(5, RandomPurpose::kDropout, 2),
          .sample_index = samples.data(),
          .rows_per_sample = rows_per_sample};
}

// The product x · scale is rounded once in float and once to T.
template <typename T>
Tolerance ProductTolerance(bool dropped) {
  const Tolerance tolerance = {.absolute = 1e-38 + UnderflowError<T>(),
                               .relative = UnitRoundoff<float>() * 1.01 + UnitRoundoff<T>() * 1.01,
                               .derivation = "one product in float, rounded to T"};
  return dropped ? tolerance.WithZeros() : tolerance;
}

TYPED_TEST(DropoutTest, MatchesReferenceOnEveryShape) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t C : {1, 2, 15, 16, 17, 33, 127, 128, 131, 768}) {
      for (const float probability : {0.0f, 0.1f, 0.6f}) {
        const int64_t T_ = C == 1 ? 1 : 3, N = 3 * T_, offset = sizeof(T) * (C % 3);
        SCOPED_TRACE(::testing::Message() << "C " << C << " p " << probability);
        const auto x = OnBackend(Cast<T>(RandomValues(N * C, 11 + C)));
        PoisonedBuffer<T> y(N * C, offset);
        const Dropout dropout = MakeDropout(probability, T_);
        ASSERT_TRUE(backend::DropoutForward<T>(
                        {.x = x.data(), .y = y.data(), .N = N, .C = C, .dropout = dropout})
                        .ok());
        y.ExpectCanariesIntact();
        const auto wide_x = Widen(x);
        std::vector<double> expected(N * C);
        reference::DropoutForward(
            {.x = wide_x.data(), .y = expected.data(), .N = N, .C = C, .dropout = dropout});
        ExpectClose("y", y.values(), expected, ProductTolerance<T>(probability > 0));
      }
    }
  });
}

TYPED_TEST(DropoutTest, KeepsTheRightShareAndTheMean) {
  using T = TypeParam;
  const int64_t N = 300, C = 700;
  const BackendVector<T> x(N * C, T(1.0f));
  PoisonedBuffer<T> y(N * C);
  ASSERT_TRUE(backend::DropoutForward<T>(
                  {.x = x.data(), .y = y.data(), .N = N, .C = C, .dropout = MakeDropout(0.1f, 100)})
                  .ok());
  int64_t kept = 0;
  for (const T value : y.values()) kept += static_cast<float>(value) != 0;
  // Binomial: standard deviation sqrt(0.09 / 210000) = 6.5e-4; five of them.
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(N * C), 0.9, 3.3e-3);
}

TYPED_TEST(DropoutTest, InPlaceOnAnyThreadsGivesTheSameBits) {
  using T = TypeParam;
  const int64_t N = 99, C = 77;
  const auto x = OnBackend(Cast<T>(RandomValues(N * C, 3)));
  const int threads_before = ComputeThreads();
  BackendVector<T> first;
  for (const int threads : {1, 2, 3}) {
    SetComputeThreads(threads);
    BackendVector<T> y = x;
    ASSERT_TRUE(
        backend::DropoutForward<T>(
            {.x = y.data(), .y = y.data(), .N = N, .C = C, .dropout = MakeDropout(0.3f, 33)})
            .ok());
    if (threads == 1) {
      first = y;
    } else {
      ExpectSameBits<T>("y", y, first);
    }
  }
  SetComputeThreads(threads_before);
}

TYPED_TEST(DropoutTest, TakesNoRows) {
  using T = TypeParam;
  PoisonedBuffer<T> y(0);
  EXPECT_TRUE(backend::DropoutForward<T>(
                  {.x = nullptr, .y = y.data(), .N = 0, .C = 5, .dropout = MakeDropout(0.3f, 1)})
                  .ok());
  y.ExpectCanariesIntact();
}

}  // namespace
}  // namespace sluice
