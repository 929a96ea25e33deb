#include "kernels/api/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
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

SLUICE_BACKEND_OP(CrossEntropy, CrossEntropyArgs);

using ::sluice::testing::BlockOrders;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectGradient;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::SetBlockOrder;
using ::sluice::testing::Tolerance;
using ::sluice::testing::UnderflowError;
using ::sluice::testing::UnitRoundoff;
using ::sluice::testing::Widen;

template <typename T>
class CrossEntropyTest : public ::testing::Test {};
TYPED_TEST_SUITE(CrossEntropyTest, ::sluice::testing::StorageTypes);

constexpr double kLossBefore = 3;
constexpr int64_t kCountBefore = 5;
constexpr float kGradientScale = 0.375f;  // of the gradient alone, not of the loss

template <typename T>
struct Result {
  PoisonedBuffer<T> dlogits;
  PoisonedBuffer<Accumulator<T>> row_loss;
  double loss_sum = kLossBefore;
  int64_t target_count = kCountBefore, correct_count = kCountBefore;
};

// Where the gradient goes.
enum class Gradient { kApart, kOverLogits, kNone };

template <typename T>
Result<T> RunOn(const std::vector<Accumulator<T>>& logits, const std::vector<int32_t>& targets,
                Gradient gradient = Gradient::kApart) {
  const auto M = static_cast<int64_t>(targets.size());
  const int64_t V = M == 0 ? 3 : static_cast<int64_t>(logits.size()) / M;
  Result<T> result = {PoisonedBuffer<T>(gradient == Gradient::kApart ? M * V : 0, sizeof(T)),
                      PoisonedBuffer<Accumulator<T>>(M, sizeof(Accumulator<T>))};
  auto read_logits = OnBackend(logits);
  const auto read_targets = OnBackend(targets);
  auto loss_sum = OnBackend<double>({result.loss_sum});
  auto counts = OnBackend<int64_t>({result.target_count, result.correct_count});
  PoisonedBuffer<uint8_t> workspace(::sluice::testing::kOnCuda ? cuda::CrossEntropyWorkspaceBytes(M)
                                                               : 0);
  T* dlogits = gradient == Gradient::kApart ? result.dlogits.data() : nullptr;
  if (gradient == Gradient::kOverLogits) dlogits = reinterpret_cast<T*>(read_logits.data());
  const CrossEntropyArgs<T> args = {.logits = read_logits.data(),
                                    .targets = read_targets.data(),
                                    .dlogits = dlogits,
                                    .loss_sum = loss_sum.data(),
                                    .target_count = counts.data(),
                                    .correct_count = counts.data() + 1,
                                    .row_loss = result.row_loss.data(),
                                    .gradient_scale = kGradientScale,
                                    .M = M,
                                    .V = V,
                                    .workspace = workspace.data()};
  if constexpr (std::is_same_v<T, double>) {
    reference::CrossEntropy(args);
  } else {
    EXPECT_TRUE(backend::CrossEntropy<T>(args).ok());
  }
  result.dlogits.ExpectCanariesIntact();
  result.row_loss.ExpectCanariesIntact();
  workspace.ExpectCanariesIntact();
  result.loss_sum = loss_sum[0];
  result.target_count = counts[0], result.correct_count = counts[1];
  if (gradient == Gradient::kOverLogits) {
    result.dlogits = PoisonedBuffer<T>(M * V);
    std::memcpy(result.dlogits.data(), dlogits, static_cast<size_t>(M * V) * sizeof(T));
  }
  return result;
}

// Every third row has no target; of the others every second one has the largest logit.
std::vector<int32_t> Targets(const std::vector<float>& logits, int64_t M, int64_t V) {
  std::vector<int32_t> targets(M);
  for (int64_t m = 0; m < M; ++m) {
    const auto row = logits.begin() + m * V;
    const auto largest = static_cast<int32_t>(std::max_element(row, row + V) - row);
    targets[m] = m % 3 == 1   ? -100
                 : m % 2 == 0 ? largest
                              : static_cast<int32_t>((m * 5 + V - 1) % V);
  }
  return targets;
}

// A probability is as precise, relative to itself, as the sum; at the target, where 1 is taken
// away, it is so relative to 1.
template <typename T>
void ExpectGradients(const Result<T>& actual, const Result<double>& expected,
                     const std::vector<int32_t>& targets, double sum_error) {
  std::vector<T> others(actual.dlogits.values().begin(), actual.dlogits.values().end());
  std::vector<double> expected_others(expected.dlogits.values().begin(),
                                      expected.dlogits.values().end());
  std::vector<T> at_target;
  std::vector<double> expected_at_target;
  const auto M = static_cast<int64_t>(targets.size());
  for (int64_t m = 0; m < M; ++m) {
    if (targets[m] < 0) continue;
    const int64_t i = m * (actual.dlogits.size() / M) + targets[m];
    at_target.push_back(others[i]);
    expected_at_target.push_back(expected_others[i]);
    others[i] = T(0.0f);
    expected_others[i] = 0;
  }
  const double u = UnitRoundoff<float>();
  ExpectClose("dlogits", others, expected_others,
              Tolerance{.absolute = 1e-37 + UnderflowError<T>(),
                        .relative = UnitRoundoff<T>() + 1.5 * sum_error + 4 * u,
                        .derivation = "errors of the sum and of a term, rounded to T"}
                  .WithZeros());
  ExpectClose("dlogits at the target", at_target, expected_at_target,
              Tolerance{.absolute = kGradientScale * sum_error,
                        .relative = UnitRoundoff<T>() + 4 * u,
                        .derivation = "error of the sum, rounded to T"}
                  .WithZeros());
}

TYPED_TEST(CrossEntropyTest, MatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t V : {1, 2, 15, 16, 17, 33, 513, 30522, 50272}) {
      for (const double range : {0.01, 15.0, 100.0}) {
        const int64_t M = V > 1000 ? 3 : 7;
        SCOPED_TRACE(::testing::Message() << "V " << V << " logits up to " << range);
        const auto logits = Cast<float>(RandomValues(M * V, V, -range, range));
        const auto targets = Targets(logits, M, V);
        const Result<T> actual = RunOn<T>(logits, targets);
        const Result<double> expected = RunOn<double>(Widen(logits), targets);
        // A term e^(x - max) has the error of the exponential and of its argument, at most 2 range;
        // a block sums 512 of them.
        const double u = UnitRoundoff<float>();
        const double sum_error = (2 * range + std::min<double>(V, 512) + 8) * u;
        ExpectClose("row_loss", actual.row_loss, expected.row_loss,
                    Tolerance{.absolute = sum_error,
                              .relative = u,
                              .derivation = "relative error of the sum of exponentials"}
                        .WithZeros());
        EXPECT_NEAR(actual.loss_sum, expected.loss_sum, static_cast<double>(M) * sum_error);
        EXPECT_EQ(actual.target_count, expected.target_count);
        EXPECT_EQ(actual.correct_count, expected.correct_count);
        ExpectGradients(actual, expected, targets, sum_error);
      }
    }
  });
}

TYPED_TEST(CrossEntropyTest, CountsTheFirstOfEqualLogits) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const int64_t first : {0, 3, 16, 30}) {
      std::vector<float> logits(4 * 40, 0.0f);
      for (int64_t m = 0; m < 4; ++m) logits[m * 40 + first] = logits[m * 40 + 37] = 2.0f;
      const auto f = static_cast<int32_t>(first);
      EXPECT_EQ(RunOn<T>(logits, {f, 37, f, -1}).correct_count, kCountBefore + 2) << first;
    }
  });
}

TEST(CrossEntropyFloatTest, GradientMayOverwriteTheLogits) {
  const int64_t M = 5, V = 1003;
  const auto logits = Cast<float>(RandomValues(M * V, 1, -8, 8));
  const auto targets = Targets(logits, M, V);
  const Result<float> apart = RunOn<float>(logits, targets);
  const Result<float> over = RunOn<float>(logits, targets, Gradient::kOverLogits);
  EXPECT_EQ(over.loss_sum, apart.loss_sum);
  EXPECT_EQ(over.target_count, apart.target_count);
  ExpectSameBits<float>("dlogits", over.dlogits.values(), apart.dlogits.values());
}

TYPED_TEST(CrossEntropyTest, LossAloneIsTheSame) {
  using T = TypeParam;
  const auto logits = Cast<float>(RandomValues(4 * 100, 1, -8, 8));
  const auto targets = Targets(logits, 4, 100);
  EXPECT_EQ(RunOn<T>(logits, targets, Gradient::kNone).loss_sum,
            RunOn<T>(logits, targets).loss_sum);
}

// Without the counts of correct rows and the rows' losses.
TYPED_TEST(CrossEntropyTest, TakesNullWhereNothingIsWanted) {
  using T = TypeParam;
  const auto logits = Cast<float>(RandomValues(4 * 100, 1, -8, 8));
  const auto targets = Targets(logits, 4, 100);
  const auto read_logits = OnBackend(logits);
  const auto read_targets = OnBackend(targets);
  auto loss_sum = OnBackend<double>({kLossBefore});
  auto count = OnBackend<int64_t>({0});
  PoisonedBuffer<uint8_t> workspace(::sluice::testing::kOnCuda ? cuda::CrossEntropyWorkspaceBytes(4)
                                                               : 0);
  ASSERT_TRUE(backend::CrossEntropy<T>({.logits = read_logits.data(),
                                        .targets = read_targets.data(),
                                        .dlogits = nullptr,
                                        .loss_sum = loss_sum.data(),
                                        .target_count = count.data(),
                                        .correct_count = nullptr,
                                        .row_loss = nullptr,
                                        .gradient_scale = kGradientScale,
                                        .M = 4,
                                        .V = 100,
                                        .workspace = workspace.data()})
                  .ok());
  EXPECT_EQ(loss_sum[0], RunOn<T>(logits, targets).loss_sum);
  EXPECT_EQ(count[0], 3);
}

TEST(CrossEntropyReferenceTest, DlogitsIsTheGradientOfTheLoss) {
  auto logits = RandomValues(4 * 7, 3, -3, 3);
  const std::vector<int32_t> targets = {6, -1, 0, 3};
  const auto loss = [&] { return RunOn<double>(logits, targets).loss_sum * kGradientScale; };
  const auto result = RunOn<double>(logits, targets);
  ExpectGradient("logits", logits, {result.dlogits.values().begin(), result.dlogits.values().end()},
                 loss);
}

TYPED_TEST(CrossEntropyTest, ThreadsAndBlockOrdersDoNotChangeABit) {
  using T = TypeParam;
  const int64_t M = testing::kOnCuda ? 1100 : 8200,
                V = testing::kOnCuda ? 61 : 17;  // more than two rounds of rows
  const auto logits = Cast<float>(RandomValues(M * V, 1, -8, 8));
  const auto targets = Targets(logits, M, V);
  const Result<T> first = RunOn<T>(logits, targets);
  for (const int threads : {1, 2, 3}) {
    const ScopedComputeThreads scope(threads);
    SetBlockOrder(threads % BlockOrders());
    const Result<T> again = RunOn<T>(logits, targets);
    EXPECT_EQ(again.loss_sum, first.loss_sum);
    EXPECT_EQ(again.correct_count, first.correct_count);
    ExpectSameBits("dlogits", again.dlogits.values(), first.dlogits.values());
    ExpectSameBits("row_loss", again.row_loss.values(), first.row_loss.values());
  }
  SetBlockOrder(0);
}

TYPED_TEST(CrossEntropyTest, TakesNoRowsHugeLogitsAndNaN) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    EXPECT_EQ(RunOn<T>({}, {}).loss_sum, kLossBefore);
    std::vector<float> logits(40, -1e30f);
    logits[39] = 1e30f;
    EXPECT_EQ(RunOn<T>(logits, {39}).loss_sum, kLossBefore);
    logits[39] = -std::numeric_limits<float>::infinity();
    EXPECT_NEAR(RunOn<T>(logits, {0}).loss_sum, kLossBefore + std::log(39.0), 1e-6);
    for (const int64_t place : {0, 20, 39}) {
      std::vector<float> broken(40, 1.0f);
      broken[place] = std::nanf("");
      EXPECT_TRUE(std::isnan(RunOn<T>(broken, {5}).loss_sum)) << place;
    }
  });
}

}  // namespace
}  // namespace sluice
