#include "kernels/api/embedding_layer_norm.h"

#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "kernels/api/layer_norm.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

SLUICE_BACKEND_OP(EmbeddingForward, EmbeddingForwardArgs);
SLUICE_BACKEND_OP(LayerNormForward, LayerNormForwardArgs);
SLUICE_BACKEND_OP(DropoutForward, DropoutArgs);
SLUICE_BACKEND_OP(EmbeddingLayerNorm, EmbeddingLayerNormArgs);

using ::sluice::testing::BackendVector;
using ::sluice::testing::BlockOrders;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::SetBlockOrder;
using ::sluice::testing::Tolerance;
using ::sluice::testing::UnitRoundoff;
using ::sluice::testing::Widen;

template <typename T>
class EmbeddingLayerNormTest : public ::testing::Test {};
TYPED_TEST_SUITE(EmbeddingLayerNormTest, ::sluice::testing::StorageTypes);

enum class Segments { kNoTable, kAllZero, kGiven };

struct Case {
  int64_t B, T_, C;
  Segments segments = Segments::kGiven;
  int64_t R = 0;           // register rows
  bool projected = false;  // rows given in the place of the token table
  int64_t position_offset = 0;
  float dropout = 0;
  int64_t V = 11;
};

constexpr int64_t kSegmentCount = 3;
constexpr float kEps = 1e-5f;

// Every width around the vectors and the tiles with every option, then what else there is.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int64_t C : {2, 3, 15, 16, 17, 33, 130, 768}) {
    for (const float dropout : {0.0f, 0.2f}) {
      cases.push_back({2, 5, C, Segments::kGiven, 0, false, 0, dropout});
      cases.push_back({3, 3, C, Segments::kNoTable, 2, false, 2, dropout});
    }
  }
  cases.push_back({1, 1, 40, Segments::kNoTable});
  cases.push_back({0, 4, 8});
  cases.push_back({2, 7, 16, Segments::kAllZero, 0, false, 2, 0.1f, /*V=*/1});
  cases.push_back({3, 6, 19, Segments::kNoTable, 0, true, 2});
  cases.push_back({2, 7, 40, Segments::kGiven, 3, true, 0, 0.1f});
  cases.push_back({3, 40, 4, Segments::kGiven, 0, false, 0, 0, 30522});
  cases.push_back({2, 70, 3, Segments::kNoTable, 0, false, 2, 0, 50272});
  // On CUDA: several warps a row; four tiles a warp; more columns than are kept in registers.
  for (const int64_t C : {1056, 2304, 4608, 17001}) {
    cases.push_back({1, 2, C, Segments::kGiven, 1, false, 0, 0.1f});
  }
  return cases;
}

std::string Name(const Case& c) {
  return "B " + std::to_string(c.B) + " T " + std::to_string(c.T_) + " C " + std::to_string(c.C) +
         " V " + std::to_string(c.V) + " R " + std::to_string(c.R) + " dropout " +
         std::to_string(c.dropout) + (c.projected ? " projected" : "");
}

// The reference, in double, reads ordinary memory.
template <typename T>
using Input = std::conditional_t<std::is_same_v<T, double>, std::vector<T>, BackendVector<T>>;
template <typename T>
Input<T> MakeInput(const std::vector<double>& values) {
  const auto cast = Cast<T>(values);
  return {cast.begin(), cast.end()};
}

template <typename T>
struct Problem {
  Case shape;
  BackendVector<int32_t> tokens, segments;
  BackendVector<int64_t> samples;
  Input<T> token_table, projected, position_table, segment_table, register_table, weight, bias;

  int64_t N() const { return shape.B * shape.T_; }
  int64_t rows() const { return shape.B * (shape.R + shape.T_); }
};

template <typename T>
Problem<T> MakeProblem(const Case& c) {
  const int64_t N = c.B * c.T_;
  Problem<T> p = {.shape = c,
                  .tokens = BackendVector<int32_t>(N),
                  .segments = BackendVector<int32_t>(N),
                  .samples = BackendVector<int64_t>(c.B),
                  .token_table = MakeInput<T>(RandomValues(c.V * c.C, 1)),
                  .projected = MakeInput<T>(RandomValues(N * c.C, 2)),
                  .position_table = MakeInput<T>(RandomValues((c.position_offset + c.T_) * c.C, 3)),
                  .segment_table = MakeInput<T>(RandomValues(kSegmentCount * c.C, 4)),
                  .register_table = MakeInput<T>(RandomValues(c.R * c.C, 5)),
                  .weight = MakeInput<T>(RandomValues(c.C, 6, 0.5, 1.5)),
                  .bias = MakeInput<T>(RandomValues(c.C, 7))};
  for (int64_t n = 0; n < N; ++n) {
    p.tokens[n] = static_cast<int32_t>(n == 1 ? c.V - 1 : n * 7919 % c.V);
    p.segments[n] = static_cast<int32_t>(n % c.T_ * kSegmentCount / c.T_);
  }
  for (int64_t b = 0; b < c.B; ++b) p.samples[b] = 0x1'0000'0005 + 3 * b;
  return p;
}

template <typename T>
Problem<double> Widened(const Problem<T>& p) {
  return {p.shape,
          p.tokens,
          p.segments,
          p.samples,
          Widen(p.token_table),
          Widen(p.projected),
          Widen(p.position_table),
          Widen(p.segment_table),
          Widen(p.register_table),
          Widen(p.weight),
          Widen(p.bias)};
}

template <typename T>
struct Result {
  PoisonedBuffer<T> sum, y;
  PoisonedBuffer<Accumulator<T>> mean, rstd;

  explicit Result(const Problem<T>& p)
      : sum(p.rows() * p.shape.C, Misalignment(p.shape.C)),
        y(p.rows() * p.shape.C, 2 * Misalignment(p.shape.C)),
        mean(p.rows()),
        rstd(p.rows()) {}

  void ExpectCanariesIntact() {
    sum.ExpectCanariesIntact();
    y.ExpectCanariesIntact();
    mean.ExpectCanariesIntact();
    rstd.ExpectCanariesIntact();
  }
  // None where CUDA's kernels may then use vectors.
  static int64_t Misalignment(int64_t C) { return static_cast<int64_t>(sizeof(T)) * (C % 3); }
};

template <typename T>
EmbeddingLayerNormArgs<T> Arguments(const Problem<T>& p, Result<T>& result) {
  const Case& c = p.shape;
  return {.embedding = {.tokens = p.tokens.data(),
                        .segments = c.segments == Segments::kGiven ? p.segments.data() : nullptr,
                        .token_table = c.projected ? nullptr : p.token_table.data(),
                        .projected = c.projected ? p.projected.data() : nullptr,
                        .position_table = p.position_table.data(),
                        .segment_table =
                            c.segments == Segments::kNoTable ? nullptr : p.segment_table.data(),
                        .register_table = c.R > 0 ? p.register_table.data() : nullptr,
                        .y = result.sum.data(),
                        .N = p.N(),
                        .T_ = c.T_,
                        .C = c.C,
                        .R = c.R,
                        .position_offset = c.position_offset},
          .weight = p.weight.data(),
          .bias = p.bias.data(),
          .y = result.y.data(),
          .mean = result.mean.data(),
          .rstd = result.rstd.data(),
          .eps = kEps,
          .dropout = {.probability = c.dropout,
                      .key = MakePhiloxKey(5, RandomPurpose::kDropout, 2),
                      .sample_index = p.samples.data(),
                      .rows_per_sample = c.R + c.T_}};
}

template <typename T>
Result<T> Run(const Problem<T>& p) {
  Result<T> result(p);
  if constexpr (std::is_same_v<T, double>) {
    reference::EmbeddingLayerNorm(Arguments(p, result));
  } else {
    EXPECT_TRUE(backend::EmbeddingLayerNorm<T>(Arguments(p, result)).ok());
  }
  result.ExpectCanariesIntact();
  return result;
}

// The three kernels one after the other.
template <typename T>
Result<T> RunApart(const Problem<T>& p) {
  Result<T> result(p);
  const EmbeddingLayerNormArgs<T> args = Arguments(p, result);
  const int64_t rows = p.rows(), C = p.shape.C;
  EXPECT_TRUE(backend::EmbeddingForward<T>(args.embedding).ok());
  EXPECT_TRUE(backend::LayerNormForward<T>({.x = result.sum.data(),
                                            .residual = nullptr,
                                            .weight = args.weight,
                                            .bias = args.bias,
                                            .sum = nullptr,
                                            .y = args.y,
                                            .mean = args.mean,
                                            .rstd = args.rstd,
                                            .N = rows,
                                            .C = C,
                                            .eps = args.eps,
                                            .dropout = {}})
                  .ok());
  EXPECT_TRUE(backend::DropoutForward<T>(
                  {.x = args.y, .y = args.y, .N = rows, .C = C, .dropout = args.dropout})
                  .ok());
  return result;
}

template <typename T>
void ExpectSame(const Result<T>& actual, const Result<T>& expected) {
  ExpectSameBits("sum", actual.sum.values(), expected.sum.values());
  ExpectSameBits("y", actual.y.values(), expected.y.values());
  ExpectSameBits("mean", actual.mean.values(), expected.mean.values());
  ExpectSameBits("rstd", actual.rstd.values(), expected.rstd.values());
}

TYPED_TEST(EmbeddingLayerNormTest, SameBitsAsOneAfterTheOther) {
  OnEachInstructionSet([] {
    for (const Case& c : Cases()) {
      SCOPED_TRACE(Name(c));
      const auto p = MakeProblem<TypeParam>(c);
      ExpectSame(Run(p), RunApart(p));
    }
  });
}

// The judges of embedding_test and layer_norm_test see the parts; here, that they are put together
// as the formula says. A sum of three values of at most 1 is rounded to T: 3 u off. So are the
// mean, and relative to the standard deviation, which is near 1 for rows of some length, the
// deviations; y is at most sqrt(C) of them, times weight and dropout's scale.
TYPED_TEST(EmbeddingLayerNormTest, MatchesReference) {
  using T = TypeParam;
  OnEachInstructionSet([] {
    for (const Case& c : Cases()) {
      if (c.C < 16) continue;  // rows of a few columns may be nearly constant
      SCOPED_TRACE(Name(c));
      const auto p = MakeProblem<T>(c);
      Result<T> actual = Run(p);
      const Result<double> expected = Run(Widened(p));
      const double u = UnitRoundoff<T>();
      const double rounding = 3 * u + static_cast<double>(c.C + 8) * UnitRoundoff<float>();
      ExpectClose("sum", actual.sum, expected.sum, Tolerance::ForSum<T>(3, 3, 0));
      ExpectClose("mean", actual.mean, expected.mean,
                  {.absolute = rounding, .derivation = "roundings of the row's values"});
      double largest_rstd = 0, largest = 0;
      for (const double rstd : expected.rstd.values()) largest_rstd = std::max(largest_rstd, rstd);
      for (const double y : expected.y.values()) largest = std::max(largest, std::abs(y));
      const double deviation = 2 * rounding * largest_rstd;
      ExpectClose("rstd", actual.rstd, expected.rstd,
                  {.relative = deviation, .derivation = "those of the deviations"});
      const float scale = Arguments(p, actual).dropout.scale();
      Tolerance tolerance = {.absolute = scale * 1.5 * deviation * (1 + largest) + scale * u,
                             .relative = 2 * u,
                             .derivation = "errors of mean and rstd times the weight, rounded"};
      ExpectClose("y", actual.y, expected.y, tolerance.WithZeros());
    }
  });
}

TYPED_TEST(EmbeddingLayerNormTest, ThreadsAndBlockOrdersDoNotChangeABit) {
  const auto p = MakeProblem<TypeParam>(
      {.B = 5, .T_ = 101, .C = 200, .R = 3, .position_offset = 2, .dropout = 0.1f, .V = 97});
  const Result<TypeParam> first = Run(p);
  for (const int threads : {1, 2, 3, 3}) {
    const ScopedComputeThreads scope(threads);
    SetBlockOrder(threads % BlockOrders());
    ExpectSame(Run(p), first);
  }
  SetBlockOrder(0);
}

TYPED_TEST(EmbeddingLayerNormTest, StatisticsMayBeLeftOut) {
  const auto p = MakeProblem<TypeParam>({.B = 2, .T_ = 3, .C = 40});
  const Result<TypeParam> with = Run(p);
  Result<TypeParam> without(p);
  auto args = Arguments(p, without);
  args.mean = args.rstd = nullptr;
  EXPECT_TRUE(backend::EmbeddingLayerNorm<TypeParam>(args).ok());
  ExpectSameBits("sum", without.sum.values(), with.sum.values());
  ExpectSameBits("y", without.y.values(), with.y.values());
}

}  // namespace
}  // namespace sluice
