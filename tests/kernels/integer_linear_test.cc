#include "kernels/api/integer_linear.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "support/compare.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using testing::ExpectClose;
using testing::OnEachInstructionSet;
using testing::PoisonedBuffer;
using testing::RandomValues;
using testing::Tolerance;

struct Problem {
  int64_t N, K, M;
  int64_t padding = 0;  // between rows of x and of y
  bool bias = true;
  bool extremes = false;  // codes of 255 and weights of 127 and -128 only
};

// A layer's operands, in fp32 and for the reference.
class Layer {
 public:
  explicit Layer(const Problem& problem) : problem_(problem) {
    const auto [N, K, M, padding, bias, extremes] = problem;
    const auto random = RandomValues(N * (K + padding), 1, -3, 3);
    x_.resize(random.size());
    for (size_t i = 0; i < x_.size(); ++i) {
      // On the quantizer's grid, as simulated quantization has them; some far beyond it.
      const double steps = extremes ? 1000 : std::nearbyint(random[i] / kScale);
      x_[i] = kScale * static_cast<float>(steps);
    }
    const auto weights = RandomValues(M * K, 2, -128.49, 127.49);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double code = extremes ? (weights[i] > -64 ? 127 : -128) : std::nearbyint(weights[i]);
      weight_.push_back(static_cast<int8_t>(code));
    }
    for (const double scale : RandomValues(M, 3, 1e-4, 1e-3)) {
      scales_.push_back(kScale * static_cast<float>(scale));
    }
    for (const double value : RandomValues(M, 4)) bias_.push_back(static_cast<float>(value));
    for (int64_t m = 0; m < M; ++m) {
      int32_t sum = 0;
      for (int64_t k = 0; k < K; ++k) sum += weight_[m * K + k];
      offset_.push_back(kZeroPoint * sum);
      for (int64_t copy = 0; copy < cpu::IntegerWeightCopies(); ++copy) {
        copies_.insert(copies_.end(), weight_.begin() + m * K, weight_.begin() + (m + 1) * K);
      }
    }
  }

  absl::Status Run(cpu::LinearCache& cache, float* y) const {
    return cpu::IntegerLinear(cache, {.x = x_.data(),
                                      .x_scale = kScale,
                                      .x_zero_point = kZeroPoint,
                                      .weight = copies_.data(),
                                      .offset = offset_.data(),
                                      .scales = scales_.data(),
                                      .bias = problem_.bias ? bias_.data() : nullptr,
                                      .y = y,
                                      .N = problem_.N,
                                      .K = problem_.K,
                                      .M = problem_.M,
                                      .x_stride = problem_.K + problem_.padding,
                                      .y_stride = problem_.M + problem_.padding});
  }

  // (N, M)
  std::vector<double> Expected() const {
    const std::vector<double> x = testing::Widen(x_), scales = testing::Widen(scales_),
                              bias = testing::Widen(bias_);
    std::vector<double> y(problem_.N * problem_.M);
    reference::IntegerLinear({.x = x.data(),
                              .x_scale = kScale,
                              .x_zero_point = kZeroPoint,
                              .weight = weight_.data(),
                              .offset = nullptr,
                              .scales = scales.data(),
                              .bias = problem_.bias ? bias.data() : nullptr,
                              .y = y.data(),
                              .N = problem_.N,
                              .K = problem_.K,
                              .M = problem_.M,
                              .x_stride = problem_.K + problem_.padding,
                              .y_stride = problem_.M});
    return y;
  }

 private:
  static constexpr float kScale = 0.0173f;
  static constexpr int32_t kZeroPoint = 93;
  Problem problem_;
  std::vector<float> x_, scales_, bias_;
  std::vector<int8_t> weight_, copies_;
  std::vector<int32_t> offset_;
};

// The sum is exact, so there are three roundings: of the sum, of the product, of the bias's sum.
// The two parts may cancel, so the bound is of the larger one.
Tolerance ThreeRoundings(const std::vector<double>& expected) {
  double largest = 1;  // of the bias
  for (const double value : expected) largest = std::max(largest, std::abs(value) + 1);
  return {.absolute = 3 * 0x1p-24 * largest, .derivation = "three roundings of the largest value"};
}

void Check(cpu::LinearCache& cache, const Problem& problem) {
  SCOPED_TRACE(std::to_string(problem.N) + " x " + std::to_string(problem.K) + " x " +
               std::to_string(problem.M));
  const Layer layer(problem);
  const int64_t stride = problem.M + problem.padding;
  PoisonedBuffer<float> y(problem.N * stride, problem.padding > 0 ? 4 : 0);
  ASSERT_TRUE(layer.Run(cache, y.data()).ok());
  y.ExpectCanariesIntact();
  std::vector<float> rows;
  for (int64_t n = 0; n < problem.N; ++n) {
    for (int64_t m = 0; m < stride; ++m) {
      if (m < problem.M) {
        rows.push_back(y[n * stride + m]);
      } else {
        EXPECT_TRUE(std::isnan(y[n * stride + m])) << "wrote between rows";
      }
    }
  }
  const std::vector<double> expected = layer.Expected();
  ExpectClose("integer linear", rows, expected, ThreeRoundings(expected));
}

TEST(IntegerLinearTest, HandWorkedExample) {
  // Codes of {-1, 0.26, 9} with scale 0.5 and zero point 2: 0, 3 (0.26 / 0.5 rounds to 1), 20.
  const std::vector<double> x = {-1, 0.26, 9}, scales = {0.25}, bias = {100};
  const std::vector<int8_t> weight = {3, -2, 1};
  double y = 0;
  reference::IntegerLinear({.x = x.data(),
                            .x_scale = 0.5,
                            .x_zero_point = 2,
                            .weight = weight.data(),
                            .offset = nullptr,
                            .scales = scales.data(),
                            .bias = bias.data(),
                            .y = &y,
                            .N = 1,
                            .K = 3,
                            .M = 1,
                            .x_stride = 3,
                            .y_stride = 1});
  EXPECT_EQ(y, 100 + 0.25 * (-2 * 3 + 1 * -2 + 18 * 1));
}

TEST(IntegerLinearTest, AgreesWithTheReferenceAroundEveryVectorWidth) {
  OnEachInstructionSet([] {
    cpu::LinearCache cache;
    for (int64_t K = 1; K <= 33; ++K) Check(cache, {.N = 3, .K = K, .M = 34 - K});
    for (const Problem& problem : {Problem{.N = 1, .K = 1, .M = 1},
                                   {.N = 65, .K = 257, .M = 31, .padding = 3},
                                   {.N = 130, .K = 768, .M = 96, .bias = false},
                                   {.N = 64, .K = 128, .M = 384},
                                   {.N = 40, .K = 3072, .M = 17, .padding = 5}}) {
      Check(cache, problem);
    }
  });
}

// What 16 bits cannot hold: pairs of 255 · 127 and of 255 · -128.
TEST(IntegerLinearTest, ExtremeCodesDoNotSaturate) {
  cpu::LinearCache cache;
  for (const int64_t K : {2, 64, 1000, 65536}) {
    Check(cache, {.N = 5, .K = K, .M = 33, .extremes = true});
  }
}

// Weights that are the unit matrix show the codes.
TEST(IntegerLinearTest, RoundsHalfToEvenAndClamps) {
  constexpr int64_t K = 12;
  constexpr int32_t kZeroPoint = 5;
  const float infinity = std::numeric_limits<float>::max();
  const std::vector<float> x = {-0.5f,   0.5f, 1.5f, 2.5f, -1.5f, -2.5f,
                                0.4999f, -99,  9999, 250,  251,   -infinity};
  const std::vector<float> expected = {0, 0, 2, 2, -2, -2, 0, -5, 250, 250, 250, -5};
  const int64_t copies = cpu::IntegerWeightCopies();
  std::vector<int8_t> weight(K * copies * K);
  for (int64_t m = 0; m < K; ++m) {
    for (int64_t copy = 0; copy < copies; ++copy) weight[(m * copies + copy) * K + m] = 1;
  }
  const std::vector<int32_t> offset(K, kZeroPoint);
  const std::vector<float> scales(K, 1.0f);
  OnEachInstructionSet([&] {
    cpu::LinearCache cache;
    std::vector<float> y(K);
    ASSERT_TRUE(cpu::IntegerLinear(cache, {.x = x.data(),
                                           .x_scale = 1,
                                           .x_zero_point = kZeroPoint,
                                           .weight = weight.data(),
                                           .offset = offset.data(),
                                           .scales = scales.data(),
                                           .bias = nullptr,
                                           .y = y.data(),
                                           .N = 1,
                                           .K = K,
                                           .M = K,
                                           .x_stride = K,
                                           .y_stride = K})
                    .ok());
    EXPECT_EQ(y, expected);
  });
}

TEST(IntegerLinearTest, SameBitsForAnyNumberOfThreads) {
  const Problem problem = {.N = 200, .K = 300, .M = 70};
  const Layer layer(problem);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 3}) {
    SetComputeThreads(threads);
    cpu::LinearCache cache;
    ASSERT_TRUE(layer.Run(cache, results.emplace_back(problem.N * problem.M).data()).ok());
  }
  SetComputeThreads(1);
  EXPECT_EQ(results[0], results[1]);
}

TEST(IntegerLinearTest, NoRowsTouchNothing) {
  cpu::LinearCache cache;
  EXPECT_TRUE(cpu::IntegerLinear(cache, {.x = nullptr,
                                         .x_scale = 1,
                                         .x_zero_point = 0,
                                         .weight = nullptr,
                                         .offset = nullptr,
                                         .scales = nullptr,
                                         .bias = nullptr,
                                         .y = nullptr,
                                         .N = 0,
                                         .K = 1,
                                         .M = 1,
                                         .x_stride = 1,
                                         .y_stride = 1})
                  .ok());
  EXPECT_EQ(cache.primitive_count(), 0);
}

}  // namespace
}  // namespace sluice
