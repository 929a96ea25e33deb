#include "kernels/api/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/integer_math.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/finite_difference.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(LayerNormForward, LayerNormForwardArgs);
SLUICE_BACKEND_OP(LayerNormBackward, LayerNormBackwardArgs);

using ::sluice::testing::BackendVector;
using ::sluice::testing::BlockOrders;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectGradient;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::kOnCuda;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::SetBlockOrder;
using ::sluice::testing::Tolerance;
using ::sluice::testing::UnitRoundoff;
using ::sluice::testing::Widen;

template <typename T>
class LayerNormTest : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNormTest, ::sluice::testing::StorageTypes);

// What is read by the backend; the reference, in double, reads what finite differences change.
template <typename T>
using Input = std::conditional_t<std::is_same_v<T, double>, std::vector<T>, BackendVector<T>>;
template <typename T>
Input<T> MakeInput(const std::vector<double>& values) {
  const auto cast = Cast<T>(values);
  return {cast.begin(), cast.end()};
}

int64_t BackwardWorkspaceBytes(int64_t N, int64_t C) {
  return kOnCuda ? cuda::LayerNormBackwardWorkspaceBytes(N, C)
                 : LayerNormBackwardWorkspaceBytes(N, C);
}

// A plan for the most rows serves all calls with fewer.
TEST(LayerNormWorkspaceTest, GrowsWithTheRows) {
  for (const int64_t C : {64, 768, 1024, 5000}) {
    int64_t before = 0;
    for (int64_t N = 1; N < 9000; ++N) {
      const int64_t bytes = BackwardWorkspaceBytes(N, C);
      ASSERT_GE(bytes, before) << N << " rows of " << C;
      before = bytes;
    }
    EXPECT_GT(before, 0);
  }
}

constexpr float kEps = 1e-12f;

Dropout MakeDropout(float probability, int64_t rows_per_sample) {
  static const auto samples = OnBackend<int64_t>({17, 0x1'0000'0005, 3, 4, 5, 6, 7, 8});
  return {.probability = probability,
          .key = MakePhiloxKey(5, RandomPurpose::kDropout, 2),
          .sample_index = samples.data(),
          .rows_per_sample = rows_per_sample};
}

// Roundings on the longest path of a sum over a row; the scalar fallback has one lane.
double RowSumError(int64_t C) { return static_cast<double>(C + 8) * UnitRoundoff<float>(); }

double LargestMagnitude(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

struct Case {
  int64_t N, C;
  bool residual;
  float dropout;
  double shift = 0;  // added to x: how far the mean is from zero
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int64_t C : {2, 3, 15, 16, 17, 33, 130, 768}) {
    for (const bool residual : {false, true}) {
      for (const float dropout : {0.0f, 0.2f}) cases.push_back({8, C, residual, dropout});
    }
  }
  cases.push_back({1, 40, true, 0.1f});
  cases.push_back({8, 768, false, 0, 1000});
  cases.push_back({8, 768, true, 0.1f, 1000});
  // On CUDA: several warps a row; more columns than backward, and than forward, keep in registers.
  for (const int64_t C : {1056, 2304, 4608, 17001}) cases.push_back({2, C, true, 0.1f});
  return cases;
}

std::string Name(const Case& c) {
  return "N " + std::to_string(c.N) + " C " + std::to_string(c.C) + " residual " +
         std::to_string(c.residual) + " dropout " + std::to_string(c.dropout) + " shift " +
         std::to_string(c.shift);
}

// Inputs of forward and backward. Backward's saved sum is x itself.
template <typename T>
struct Problem {
  Case shape;
  Dropout dropout;
  Input<T> x, residual, weight, bias, dy, dsum_in;

  const T* residual_or_null() const { return shape.residual ? residual.data() : nullptr; }
  const T* dsum_in_or_null() const { return shape.residual ? dsum_in.data() : nullptr; }
};

template <typename T>
Problem<T> MakeProblem(const Case& c) {
  const int64_t count = c.N * c.C;
  return {.shape = c,
          .dropout = MakeDropout(c.dropout, std::max<int64_t>(1, CeilDiv(c.N, 8))),
          .x = MakeInput<T>(RandomValues(count, 1, c.shift - 2, c.shift + 2)),
          .residual = MakeInput<T>(RandomValues(count, 2)),
          .weight = MakeInput<T>(RandomValues(c.C, 3, 0.5, 1.5)),
          .bias = MakeInput<T>(RandomValues(c.C, 4)),
          .dy = MakeInput<T>(RandomValues(count, 5)),
          .dsum_in = MakeInput<T>(RandomValues(count, 6))};
}

template <typename T>
Problem<double> Widened(const Problem<T>& p) {
  return {.shape = p.shape,
          .dropout = p.dropout,
          .x = Widen(p.x),
          .residual = Widen(p.residual),
          .weight = Widen(p.weight),
          .bias = Widen(p.bias),
          .dy = Widen(p.dy),
          .dsum_in = Widen(p.dsum_in)};
}

template <typename T>
struct ForwardResult {
  PoisonedBuffer<T> sum, y;
  PoisonedBuffer<Accumulator<T>> mean, rstd;
};

// With a sum only where one is needed.
template <typename T>
ForwardResult<T> RunForward(const Problem<T>& p) {
  const auto [N, C, residual, probability, shift] = p.shape;
  const bool with_sum = residual || probability > 0;
  const int64_t offset = sizeof(T) * (C % 3);
  ForwardResult<T> result = {PoisonedBuffer<T>(with_sum ? N * C : 0, offset),
                             PoisonedBuffer<T>(N * C, 2 * offset),
                             PoisonedBuffer<Accumulator<T>>(N), PoisonedBuffer<Accumulator<T>>(N)};
  const LayerNormForwardArgs<T> args = {.x = p.x.data(),
                                        .residual = p.residual_or_null(),
                                        .weight = p.weight.data(),
                                        .bias = p.bias.data(),
                                        .sum = with_sum ? result.sum.data() : nullptr,
                                        .y = result.y.data(),
                                        .mean = result.mean.data(),
                                        .rstd = result.rstd.data(),
                                        .N = N,
                                        .C = C,
                                        .eps = kEps,
                                        .dropout = p.dropout};
  if constexpr (std::is_same_v<T, double>) {
    reference::LayerNormForward(args);
  } else {
    EXPECT_TRUE(backend::LayerNormForward<T>(args).ok());
  }
  result.sum.ExpectCanariesIntact();
  result.y.ExpectCanariesIntact();
  result.mean.ExpectCanariesIntact();
  result.rstd.ExpectCanariesIntact();
  return result;
}

template <typename T>
struct BackwardResult {
  PoisonedBuffer<T> dsum, dx;
  PoisonedBuffer<Accumulator<T>> dweight, dbias;
};

constexpr float kDweightBefore = 0.25f, kDbiasBefore = -0.5f;

// With dsum_in where there is a residual.
template <typename T>
BackwardResult<T> RunBackward(const Problem<T>& p, const Input<Accumulator<T>>& mean,
                              const Input<Accumulator<T>>& rstd) {
  using A = Accumulator<T>;
  const auto [N, C, residual, probability, shift] = p.shape;
  const int64_t offset = sizeof(T) * (C % 3);
  BackwardResult<T> result = {PoisonedBuffer<T>(N * C, offset),
                              PoisonedBuffer<T>(probability > 0 ? N * C : 0, 2 * offset),
                              PoisonedBuffer<A>(C, sizeof(A), A(kDweightBefore)),
                              PoisonedBuffer<A>(C, 2 * sizeof(A), A(kDbiasBefore))};
  PoisonedBuffer<uint8_t> workspace(BackwardWorkspaceBytes(N, C));
  const LayerNormBackwardArgs<T> args = {.dy = p.dy.data(),
                                         .dsum_in = p.dsum_in_or_null(),
                                         .sum = p.x.data(),
                                         .weight = p.weight.data(),
                                         .mean = mean.data(),
                                         .rstd = rstd.data(),
                                         .dsum = result.dsum.data(),
                                         .dx = probability > 0 ? result.dx.data() : nullptr,
                                         .dweight = result.dweight.data(),
                                         .dbias = result.dbias.data(),
                                         .workspace = workspace.data(),
                                         .N = N,
                                         .C = C,
                                         .dropout = p.dropout};
  if constexpr (std::is_same_v<T, double>) {
    reference::LayerNormBackward(args);
  } else {
    EXPECT_TRUE(backend::LayerNormBackward<T>(args).ok());
  }
  workspace.ExpectCanariesIntact();
  result.dsum.ExpectCanariesIntact();
  result.dx.ExpectCanariesIntact();
  result.dweight.ExpectCanariesIntact();
  result.dbias.ExpectCanariesIntact();
  return result;
}

template <typename T>
Input<T> Values(const PoisonedBuffer<T>& buffer) {
  return {buffer.values().begin(), buffer.values().end()};
}

// Mean, rstd and y against the reference's for the very sum that was saved.
template <typename T>
void ExpectNormalized(const ForwardResult<T>& actual, const Problem<double>& p) {
  const ForwardResult<double> expected = RunForward(p);
  const auto mean = Values(expected.mean), rstd = Values(expected.rstd);
  // In units of the row's standard deviation, the mean is off by its own rounding and that of the
  // summed deviations; the variance by the sum of their squares.
  const double u = UnitRoundoff<float>(), row_sum = RowSumError(p.shape.C);
  const double smallest_rstd = *std::min_element(rstd.begin(), rstd.end());
  const double mean_error = 2 * u * LargestMagnitude(mean) * LargestMagnitude(rstd) + row_sum;
  const double rstd_error = row_sum + mean_error * mean_error + 4 * u;
  ExpectClose("mean", actual.mean.values(), mean,
              {.absolute = mean_error / smallest_rstd,
               .derivation = "its own rounding and the sum of the deviations"});
  ExpectClose("rstd", actual.rstd.values(), rstd,
              {.relative = rstd_error, .derivation = "half the error of the variance"});
  const double largest_normalized = std::sqrt(static_cast<double>(p.shape.C));
  ExpectClose("y", actual.y.values(), expected.y,
              {.absolute = 1.5 * (mean_error + largest_normalized * (rstd_error + 4 * u)) + 2 * u,
               .relative = UnitRoundoff<T>(),
               .derivation = "errors of mean and rstd times the weight, rounded to T"});
}

TYPED_TEST(LayerNormTest, ForwardMatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const Case& c : Cases()) {
      SCOPED_TRACE(Name(c));
      const Problem<T> p = MakeProblem<T>(c);
      const ForwardResult<T> actual = RunForward(p);
      Problem<double> wide = Widened(p);
      if (actual.sum.size() > 0) {
        const ForwardResult<double> expected = RunForward(wide);
        ExpectClose("sum", actual.sum.values(), expected.sum,
                    Tolerance::ForSum<T>(2, 1.3 * LargestMagnitude(wide.x) + 1).WithZeros());
        wide.x = Widen(Values(actual.sum));
      }
      wide.shape.residual = false;
      wide.shape.dropout = 0;
      wide.dropout = {};
      ExpectNormalized(actual, wide);
    }
  });
}

template <typename T>
void ExpectBackward(const Case& c) {
  SCOPED_TRACE(Name(c));
  const Problem<T> p = MakeProblem<T>(c);
  Problem<T> plain = p;  // for the statistics of x
  plain.shape.residual = false;
  plain.shape.dropout = 0;
  plain.dropout = {};
  const ForwardResult<T> forward = RunForward(plain);
  const auto mean = Values(forward.mean), rstd = Values(forward.rstd);
  const BackwardResult<T> actual = RunBackward(p, mean, rstd);
  const BackwardResult<double> expected = RunBackward(Widened(p), Widen(mean), Widen(rstd));

  // |dy · weight| <= 1.5 and the mean square of the normalized row is 1, so both means are at most
  // 1.5 in size, each with a row sum's error; the normalized value is at most sqrt(C).
  const double u = UnitRoundoff<float>(), row_error = RowSumError(c.C) + 8 * u;
  const double normalized = std::sqrt(static_cast<double>(c.C));
  const double absolute =
      1.5 * (1 + normalized) * row_error * 2 * LargestMagnitude(Widen(rstd)) + 2 * u;
  const Tolerance tolerance = {.absolute = absolute,
                               .relative = UnitRoundoff<T>() + 2 * u,
                               .derivation = "two row sums times the normalized value"};
  ExpectClose("dsum", actual.dsum.values(), expected.dsum, tolerance);
  if (c.dropout > 0) {
    Tolerance scaled = tolerance.WithZeros();
    scaled.absolute *= p.dropout.scale();
    ExpectClose("dx", actual.dx.values(), expected.dx, scaled);
  }
  const auto rows = static_cast<double>(c.N);
  ExpectClose("dweight", actual.dweight.values(), expected.dweight,
              Tolerance::ForSum<float>(c.N + 2, rows * normalized + 1, 6));
  ExpectClose("dbias", actual.dbias.values(), expected.dbias,
              Tolerance::ForSum<float>(c.N + 2, rows + 1, 1));
}

TYPED_TEST(LayerNormTest, BackwardMatchesReference) {
  OnEachInstructionSet([] {
    for (const Case& c : Cases()) ExpectBackward<TypeParam>(c);
    ExpectBackward<TypeParam>({300, 24, true, 0.3f});  // blocks of more than one row, a partial one
    // And so many that a block goes over its rows in several rounds.
    ExpectBackward<TypeParam>(kOnCuda ? Case{1100, 768, true, 0.1f} : Case{2100, 33, true, 0.1f});
  });
}

TEST(LayerNormReferenceTest, BackwardIsTheGradientOfForward) {
  for (const bool fused : {false, true}) {
    Problem<double> p = MakeProblem<double>({3, 7, fused, fused ? 0.4f : 0});
    // The loss: <y, dy>, and <sum, dsum_in> when the sum goes on as a residual stream.
    const auto loss = [&] {
      const ForwardResult<double> forward = RunForward(p);
      double total = 0;
      for (size_t i = 0; i < p.dy.size(); ++i) total += forward.y[i] * p.dy[i];
      for (int64_t i = 0; i < forward.sum.size(); ++i) total += forward.sum[i] * p.dsum_in[i];
      return total;
    };
    const ForwardResult<double> forward = RunForward(p);
    Problem<double> saved = p;
    if (fused) saved.x = Values(forward.sum);
    const BackwardResult<double> backward =
        RunBackward(saved, Values(forward.mean), Values(forward.rstd));
    auto dweight = Values(backward.dweight), dbias = Values(backward.dbias);
    for (double& value : dweight) value -= kDweightBefore;
    for (double& value : dbias) value -= kDbiasBefore;
    ExpectGradient("x", p.x, Values(fused ? backward.dx : backward.dsum), loss);
    if (fused) ExpectGradient("residual", p.residual, Values(backward.dsum), loss);
    ExpectGradient("weight", p.weight, dweight, loss);
    ExpectGradient("bias", p.bias, dbias, loss);
  }
}

TYPED_TEST(LayerNormTest, ThreadsAndBlockOrdersDoNotChangeABit) {
  using T = TypeParam;
  const Problem<T> p = MakeProblem<T>({601, 50, true, 0.1f});
  std::vector<ForwardResult<T>> forward;
  std::vector<BackwardResult<T>> backward;
  for (const int threads : {1, 2, 3, 3}) {
    const ScopedComputeThreads scope(threads);
    SetBlockOrder(threads % BlockOrders());
    forward.push_back(RunForward(p));
    backward.push_back(RunBackward(p, Values(forward[0].mean), Values(forward[0].rstd)));
    if (forward.size() == 1) continue;
    ExpectSameBits("sum", forward.back().sum.values(), forward[0].sum.values());
    ExpectSameBits("y", forward.back().y.values(), forward[0].y.values());
    ExpectSameBits("dsum", backward.back().dsum.values(), backward[0].dsum.values());
    ExpectSameBits("dx", backward.back().dx.values(), backward[0].dx.values());
    ExpectSameBits("dweight", backward.back().dweight.values(), backward[0].dweight.values());
    ExpectSameBits("dbias", backward.back().dbias.values(), backward[0].dbias.values());
  }
  SetBlockOrder(0);
}

TYPED_TEST(LayerNormTest, OutputsMayLieOverInputs) {
  using T = TypeParam;
  const Problem<T> p = MakeProblem<T>({8, 77, true, 0.2f});
  const ForwardResult<T> forward = RunForward(p);
  const auto mean = Values(forward.mean), rstd = Values(forward.rstd);
  const BackwardResult<T> backward = RunBackward(p, mean, rstd);

  BackendVector<T> y(p.x.size()), residual = p.residual, dy = p.dy, dx(p.x.size());
  EXPECT_TRUE(backend::LayerNormForward<T>({.x = p.x.data(),
                                            .residual = residual.data(),
                                            .weight = p.weight.data(),
                                            .bias = p.bias.data(),
                                            .sum = residual.data(),
                                            .y = y.data(),
                                            .mean = nullptr,
                                            .rstd = nullptr,
                                            .N = 8,
                                            .C = 77,
                                            .eps = kEps,
                                            .dropout = p.dropout})
                  .ok());
  ExpectSameBits<T>("sum", residual, forward.sum.values());
  ExpectSameBits<T>("y", y, forward.y.values());
  BackendVector<float> dweight(77), dbias(77);
  BackendVector<uint8_t> workspace(BackwardWorkspaceBytes(8, 77));
  EXPECT_TRUE(backend::LayerNormBackward<T>({.dy = dy.data(),
                                             .dsum_in = p.dsum_in.data(),
                                             .sum = p.x.data(),
                                             .weight = p.weight.data(),
                                             .mean = mean.data(),
                                             .rstd = rstd.data(),
                                             .dsum = dy.data(),
                                             .dx = dx.data(),
                                             .dweight = dweight.data(),
                                             .dbias = dbias.data(),
                                             .workspace = workspace.data(),
                                             .N = 8,
                                             .C = 77,
                                             .dropout = p.dropout})
                  .ok());
  ExpectSameBits<T>("dsum", dy, backward.dsum.values());
  ExpectSameBits<T>("dx", dx, backward.dx.values());
}

TYPED_TEST(LayerNormTest, TakesNoRowsAndLetsNaNThrough) {
  using T = TypeParam;
  const Problem<T> none = MakeProblem<T>({0, 9, true, 0.1f});
  EXPECT_EQ(RunForward(none).y.size(), 0);
  const BackwardResult<T> backward = RunBackward(none, {}, {});
  for (const float value : backward.dweight.values()) EXPECT_EQ(value, kDweightBefore);

  Problem<T> p = MakeProblem<T>({2, 20, false, 0});
  p.x[3] = T(std::nanf(""));
  const ForwardResult<T> forward = RunForward(p);
  for (int64_t i = 0; i < 20; ++i) EXPECT_TRUE(std::isnan(static_cast<float>(forward.y[i]))) << i;
  for (int64_t i = 20; i < 40; ++i) EXPECT_FALSE(std::isnan(static_cast<float>(forward.y[i]))) << i;
}

}  // namespace
}  // namespace sluice
