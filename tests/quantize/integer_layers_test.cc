#include "quantize/integer_layers.h"

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "core/status.h"
#include "gmock/gmock.h"
#include "kernels/api/linear.h"
#include "model/small_model.h"
#include "quantize/quantized_model.h"
#include "support/compare.h"
#include "train/post_training_quantization.h"

namespace sluice {
namespace {

using testing::Loss;
using testing::MakeEngine;
using testing::Model;
using testing::Models;
using testing::RandomBatch;
using testing::RandomValues;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

constexpr double kRoundoff = 0x1p-24;

// A layer of its own, with a quantizer for each of its rows.
struct Operands {
  int64_t N, K, M;
  std::vector<float> x, weight, bias, y;
  std::vector<UniformQuantizer> rows;
  UniformQuantizer input;

  Operands(int64_t rows_of_x, int64_t inner, int64_t outputs, const UniformQuantizer& quantizer)
      : N(rows_of_x), K(inner), M(outputs), y(rows_of_x * outputs), input(quantizer) {
    x = testing::Cast<float>(RandomValues(N * K, 1, -1, 3));
    weight = testing::Cast<float>(RandomValues(M * K, 2, -0.3, 0.2));
    bias = testing::Cast<float>(RandomValues(M, 3));
    input.Apply(x);
    for (int64_t m = 0; m < M; ++m) {
      const float reach = 0.1f + 0.2f * static_cast<float>(m) / static_cast<float>(M);
      rows.push_back(UniformQuantizer::Symmetric({-reach, reach}, 8));
      rows.back().Apply({weight.data() + m * K, static_cast<size_t>(K)});
    }
  }
  TensorView Weight() { return TensorView::Of(weight.data(), {M, K}); }
  LinearExecutor::Product Product() {
    return {TensorView::Of(x.data(), {N, K}), Weight(), TensorView::Of(bias.data(), {M}),
            TensorView::Of(y.data(), {N, M})};
  }
  // From codes, exactly: a sum of 64-bit integers, and the scales in double.
  std::vector<double> Exact() const {
    std::vector<double> exact;
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t m = 0; m < M; ++m) {
        int64_t sum = 0;
        for (int64_t k = 0; k < K; ++k) {
          sum += static_cast<int64_t>(input.Code(x[n * K + k]) - input.zero_point()) *
                 rows[m].Code(weight[m * K + k]);
        }
        exact.push_back(static_cast<double>(input.scale()) * rows[m].scale() *
                            static_cast<double>(sum) +
                        bias[m]);
      }
    }
    return exact;
  }
};

TEST(IntegerLayersTest, IsTheProductOfTheCodes) {
  const auto device = Device::Open("cpu", 0);
  ASSERT_TRUE(device.ok());
  ExecutionContext context(**device);
  const ValueRange range = {-0.9f, 2.5f};
  for (const UniformQuantizer& input :
       {UniformQuantizer::Asymmetric(range, 8), UniformQuantizer::Symmetric(range, 8),
        UniformQuantizer::Symmetric({0, 2}, 8), UniformQuantizer::Asymmetric(range, 5)}) {
    Operands operands(13, 70, 37, input);
    IntegerLayers layers;
    ASSERT_TRUE(layers.Add({operands.Weight(), operands.rows, input}));
    ASSERT_TRUE(layers.Run(context, operands.Product()).value());
    const std::vector<double> exact = operands.Exact();
    double largest = 1;
    for (const double value : exact) largest = std::max(largest, std::abs(value) + 1);
    // Of the scales' product, of the sum, of their product, and of the bias's sum.
    testing::ExpectClose("integer layer", operands.y, exact,
                         {.absolute = 4 * kRoundoff * largest, .derivation = "four roundings"});
    EXPECT_EQ(layers.products(), 1);
  }
}

TEST(IntegerLayersTest, LeavesOtherLayersAlone) {
  const auto device = Device::Open("cpu", 0);
  ExecutionContext context(**device);
  const UniformQuantizer input = UniformQuantizer::Asymmetric({-1, 3}, 8);
  Operands known(2, 3, 4, input), unknown(2, 3, 4, input);
  IntegerLayers layers;
  ASSERT_TRUE(layers.Add({known.Weight(), known.rows, input}));
  EXPECT_FALSE(layers.Run(context, unknown.Product()).value());
  EXPECT_EQ(unknown.y, std::vector<float>(8, 0.0f));
  EXPECT_EQ(layers.products(), 0);
}

TEST(IntegerLayersTest, CodesOfMoreThanEightBitsAreLeftToFp32) {
  const UniformQuantizer input = UniformQuantizer::Asymmetric({-1, 3}, 8);
  Operands operands(2, 3, 4, input);
  IntegerLayers layers;
  EXPECT_FALSE(
      layers.Add({operands.Weight(), operands.rows, UniformQuantizer::Asymmetric({-1, 3}, 9)}));
  // Without a negative value codes are 0 … 255.
  std::vector<UniformQuantizer> rows = operands.rows;
  rows[2] = UniformQuantizer::Symmetric({0, 1}, 8);
  EXPECT_FALSE(layers.Add({operands.Weight(), rows, input}));
  EXPECT_EQ(layers.size(), 0);
}

// Looks over the shoulder of another executor: its product beside the simulation's, in double and
// as fp32 kernels have it.
class Beside : public LinearExecutor {
 public:
  explicit Beside(LinearExecutor& integers) : integers_(integers) {}

  absl::StatusOr<bool> Run(ExecutionContext& context, const Product& product) override {
    ASSIGN_OR_RETURN(const bool done, integers_.Run(context, product));
    if (!done) return false;
    ++products;
    const int64_t N = product.x.rows(), K = product.x.dim(-1), M = product.y.dim(-1);
    std::vector<float> simulated(N * M);
    RETURN_IF_ERROR(
        cpu::LinearForward<float>(context.linear_cache(), {.x = product.x.as<float>(),
                                                           .weight = product.weight.as<float>(),
                                                           .bias = product.bias.as<float>(),
                                                           .y = simulated.data(),
                                                           .N = N,
                                                           .K = K,
                                                           .M = M,
                                                           .x_stride = product.x.row_stride(),
                                                           .y_stride = M}));
    for (int64_t n = 0; n < N; ++n) {
      const float* x = product.x.as<float>() + n * product.x.row_stride();
      for (int64_t m = 0; m < M; ++m) {
        const float* weight = product.weight.as<float>() + m * K;
        const double bias = product.bias.null() ? 0 : product.bias.as<float>()[m];
        double sum = bias, magnitude = std::abs(bias);
        for (int64_t k = 0; k < K; ++k) {
          sum += static_cast<double>(x[k]) * weight[k];
          magnitude += std::abs(static_cast<double>(x[k]) * weight[k]);
        }
        const double integer = product.y.as<float>()[n * product.y.row_stride() + m];
        // Four roundings of its own, and one each of the values that the simulation multiplies.
        Use(std::abs(integer - sum), 6 * kRoundoff * magnitude, integer_share);
        // K products and as many sums, and the bias's.
        Use(std::abs(simulated[n * M + m] - sum),
            static_cast<double>(K + 2) * kRoundoff * magnitude, simulated_share);
      }
    }
    return true;
  }

  int64_t products = 0;
  double integer_share = 0, simulated_share = 0;

 private:
  static void Use(double difference, double bound, double& share) {
    if (difference > 0) share = std::max(share, difference / bound);
  }
  LinearExecutor& integers_;
};

// Every linear layer of every variant, on the inputs that the pass has there.
TEST(IntegerProductsTest, LayerByLayerAreTheSimulations) {
  for (const bool per_channel : {false, true}) {
    for (const Model& model : Models(/*lengths=*/true)) {
      SCOPED_TRACE(model.name);
      const auto engine = MakeEngine(model.config, DType::kFloat32, 3, 7);
      const std::vector<Batch> batches = {RandomBatch(model.batch, 5)};
      PostTrainingQuantizationOptions options;
      options.weights.per_channel = per_channel;
      const double exact = Loss(*engine, batches[0], nullptr);
      auto quantized = PostTrainingQuantization::Apply(*engine, batches, options);
      ASSERT_TRUE(quantized.ok()) << quantized.status();
      const double simulated = Loss(*engine, batches[0], &(*quantized)->activations());
      const IntegerCoverage coverage = (*quantized)->UseIntegers().value();
      LinearExecutor* integers = engine->context().linear_executor();
      Beside beside(*integers);
      engine->context().set_linear_executor(&beside);
      const double integer = Loss(*engine, batches[0], &(*quantized)->activations());
      engine->context().set_linear_executor(integers);

      EXPECT_EQ(coverage.layers, 8);
      // A gated product that is not quantized again is no integer's.
      const AttentionConfig& attention = model.config.model.attention;
      const int64_t gated = IsGated(attention, 0) + IsGated(attention, 1);
      const int64_t left = model.batch.causal && attention.gate.site == "query" ? gated : 0;
      EXPECT_EQ(coverage.in_integers, 8 - left);
      EXPECT_EQ(std::ssize(coverage.in_fp32), left);
      EXPECT_EQ(beside.products, coverage.in_integers);
      std::printf(
          "[tolerance] %s: integer products used %.0f %%, simulated ones %.0f %% of their "
          "rounding; loss fp32 %.6f, simulated %.6f, integer %.6f\n",
          model.name.c_str(), 100 * beside.integer_share, 100 * beside.simulated_share, exact,
          simulated, integer);
      EXPECT_LE(beside.integer_share, 1);
      EXPECT_LE(beside.simulated_share, 1);
      EXPECT_GT(beside.integer_share, 0.01);
      // Of few layers: what a value that rounds the other way now and then may do.
      EXPECT_NEAR(integer, simulated, 0.05 * std::abs(simulated));

      ASSERT_TRUE((*quantized)->Remove().ok());
      EXPECT_EQ(engine->context().linear_executor(), nullptr);
      EXPECT_EQ(Loss(*engine, batches[0], nullptr), exact);
    }
  }
}

// What reads a LayerNorm with 16 bits is left in fp32: query, key and value, and the first of the
// feed-forward. Nothing but the head reads the final one.
TEST(IntegerProductsTest, LayerNormsOfSixteenBitsHaveNone) {
  for (const bool causal : {false, true}) {
    const auto engine =
        MakeEngine(causal ? SmallDecoderConfig("opt") : SmallBertConfig(), DType::kFloat32, 3, 7);
    const std::vector<Batch> batches = {RandomBatch({.causal = causal}, 5)};
    for (const auto& [norms, expected] : {std::pair{SixteenBitNorms::kNone, 8},
                                          {SixteenBitNorms::kFinal, 8},
                                          {SixteenBitNorms::kAll, 4}}) {
      PostTrainingQuantizationOptions options;
      options.activations.sixteen_bit_norms = norms;
      auto quantized = PostTrainingQuantization::Apply(*engine, batches, options);
      ASSERT_TRUE(quantized.ok()) << quantized.status();
      const double simulated = Loss(*engine, batches[0], &(*quantized)->activations());
      const IntegerCoverage coverage = (*quantized)->UseIntegers().value();
      EXPECT_EQ(coverage.in_integers, expected);
      EXPECT_EQ(std::ssize(coverage.in_fp32), norms == SixteenBitNorms::kAll ? 2 * 4 : 0);
      EXPECT_NEAR(Loss(*engine, batches[0], &(*quantized)->activations()), simulated,
                  0.05 * std::abs(simulated));
      ASSERT_TRUE((*quantized)->Remove().ok());
    }
  }
}

TEST(IntegerProductsTest, OtherBitsAreRefused) {
  const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 3, 7);
  const std::vector<Batch> batches = {RandomBatch({}, 5)};
  for (const auto& [weights, activations] : {std::pair{4, 8}, {8, 7}, {32, 8}, {8, 32}, {16, 16}}) {
    PostTrainingQuantizationOptions options;
    options.weights.bits = weights;
    options.activations.bits = activations;
    auto quantized = PostTrainingQuantization::Apply(*engine, batches, options);
    ASSERT_TRUE(quantized.ok());
    const auto coverage = (*quantized)->UseIntegers();
    EXPECT_THAT(std::string(coverage.status().message()),
                ::testing::HasSubstr("integer products are of 8 bits"));
    EXPECT_EQ(engine->context().linear_executor(), nullptr);
    ASSERT_TRUE((*quantized)->Remove().ok());
  }
}

// Whoever forgets Remove leaves no executor behind.
TEST(IntegerProductsTest, EndWithTheQuantization) {
  const auto engine = MakeEngine(SmallBertConfig(), DType::kFloat32, 3, 7);
  const std::vector<Batch> batches = {RandomBatch({}, 5)};
  {
    auto quantized = PostTrainingQuantization::Apply(*engine, batches, {});
    ASSERT_TRUE((*quantized)->UseIntegers().ok());
    EXPECT_NE(engine->context().linear_executor(), nullptr);
  }
  EXPECT_EQ(engine->context().linear_executor(), nullptr);
}

}  // namespace
}  // namespace sluice
