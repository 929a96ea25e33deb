#include "kernels/api/row_gather.h"

#include <algorithm>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/finite_difference.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(RowGather, RowGatherArgs);
SLUICE_BACKEND_OP(RowScatter, RowScatterArgs);

using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectGradient;
using ::sluice::testing::OnBackend;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::Tolerance;
using ::sluice::testing::Widen;

template <typename T>
class RowGatherTest : public ::testing::Test {};
TYPED_TEST_SUITE(RowGatherTest, ::sluice::testing::StorageTypes);

const Tolerance kExact = {.zeros_expected = true, .derivation = "copies are exact"};

// M of N rows, none twice, in no order; every fourth is padding.
std::vector<int32_t> Rows(int64_t N, int64_t M) {
  std::vector<int32_t> rows(M);
  for (int64_t m = 0; m < M; ++m) {
    rows[m] = m % 4 == 3 ? -1 : static_cast<int32_t>(m * 7 % N);  // 7 and N share no factor
  }
  return rows;
}

TYPED_TEST(RowGatherTest, MatchesReference) {
  using T = TypeParam;
  const int64_t N = 60 + 1;
  for (const int64_t C : {1, 2, 17, 33, 768}) {
    for (const int64_t M : {0, 1, 5, 61}) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(::testing::Message() << "C " << C << " M " << M << " threads " << threads);
        const ScopedComputeThreads scope(threads);
        const auto rows = OnBackend(Rows(N, M));
        const auto x = OnBackend(Cast<T>(RandomValues(N * C, C)));
        const auto dy = OnBackend(Cast<T>(RandomValues(M * C, C + 1)));
        const auto wide_x = Widen(x), wide_dy = Widen(dy);
        PoisonedBuffer<T> y(M * C, sizeof(T));
        ASSERT_TRUE(backend::RowGather<T>({x.data(), rows.data(), y.data(), N, M, C}).ok());
        y.ExpectCanariesIntact();
        std::vector<double> expected(M * C);
        reference::RowGather({wide_x.data(), rows.data(), expected.data(), N, M, C});
        ExpectClose("y", y, expected, kExact);

        // What lies in the other rows stays.
        PoisonedBuffer<T> dx(N * C, sizeof(T), T(-3.5f));
        ASSERT_TRUE(backend::RowScatter<T>({dy.data(), rows.data(), dx.data(), N, M, C}).ok());
        dx.ExpectCanariesIntact();
        std::vector<double> expected_dx(N * C, -3.5);
        reference::RowScatter({wide_dy.data(), rows.data(), expected_dx.data(), N, M, C});
        ExpectClose("dx", dx, expected_dx, kExact);
      }
    }
  }
}

TEST(RowGatherReferenceTest, ScatterIsTheGradientOfGather) {
  const int64_t N = 9, M = 6, C = 3;
  const auto rows = Rows(N, M);
  auto x = RandomValues(N * C, 1);
  const auto dy = RandomValues(M * C, 2);
  const auto loss = [&] {
    std::vector<double> y(M * C);
    reference::RowGather({x.data(), rows.data(), y.data(), N, M, C});
    double total = 0;
    for (int64_t i = 0; i < M * C; ++i) total += y[i] * dy[i];
    return total;
  };
  std::vector<double> dx(N * C, 0.0);
  reference::RowScatter({dy.data(), rows.data(), dx.data(), N, M, C});
  EXPECT_EQ(std::count(dx.begin(), dx.end(), 0.0), (N - 5) * C);
  ExpectGradient("x", x, dx, loss);
}

TEST(RowGatherDeathTest, RefusesARowBeyondTheEnd) {
  const auto x = OnBackend<float>({1, 2, 3, 4});
  auto y = OnBackend<float>({0, 0});
  const auto rows = OnBackend<int32_t>({2});
  const ScopedComputeThreads scope(1);
  EXPECT_DEATH((void)backend::RowGather<float>({x.data(), rows.data(), y.data(), 2, 1, 2}),
               ::sluice::testing::kOnCuda ? "trap" : "2 vs. 2");
}

}  // namespace
}  // namespace sluice
