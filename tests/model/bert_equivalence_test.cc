// The same numbers whichever way a batch is cut, and the same bits when nothing changes.
#include "core/check.h"
#include "core/parallel.h"
#include "small_model.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::FlatGradient;
using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;

// Gradient of rows 0 … total-1 in micro-batches of `rows`.
std::vector<double> GradientInParts(const RunConfig& config, DType dtype, int64_t total,
                                    int64_t rows, ArenaFill fill, double* loss = nullptr) {
  auto engine = MakeEngine(config, dtype, rows, 7, fill);
  ModelLosses losses;
  for (int64_t first = 0; first < total; first += rows) {
    const Batch batch = RandomBatch({.B = rows}, 21, first);
    EXPECT_TRUE(engine->ForwardBackward(batch, {.train = true, .seed = 3}, losses).ok());
  }
  if (loss != nullptr) *loss = losses.language_model.loss;
  return FlatGradient(*engine);
}

double Largest(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

TEST(BertEquivalenceTest, MicroBatchesAddUpToTheBatch) {
  // Dropout is on: masks follow the sample, not the micro-batch. Rows are independent, so only the
  // order of sums over 12 rows differs (fp32 accumulation of bf16 or fp32 products): gamma(12 · 7 +
  // log) of the largest gradient.
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const RunConfig config = SmallBertConfig("gated");
    const auto whole = GradientInParts(config, dtype, 12, 12, ArenaFill::kZero);
    for (int64_t rows : {1, 3, 4, 6}) {
      const auto parts = GradientInParts(config, dtype, 12, rows, ArenaFill::kZero);
      testing::ExpectClose(
          std::string(DTypeName(dtype)) + " in parts of " + std::to_string(rows), parts, whole,
          {.absolute = 12 * 7 * 2 * testing::UnitRoundoff<float>() * Largest(whole) * 12,
           .zeros_expected = true,
           .derivation = "2 · 84 terms · u · largest gradient, over 12 accumulations"});
    }
  }
}

TEST(BertEquivalenceTest, SameBitsAgainAndFromAnyMemory) {
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const RunConfig config = SmallBertConfig("gated", "value", "key", true);
    const auto first = GradientInParts(config, dtype, 6, 3, ArenaFill::kZero);
    const auto again = GradientInParts(config, dtype, 6, 3, ArenaFill::kZero);
    const auto poisoned = GradientInParts(config, dtype, 6, 3, ArenaFill::kPoison);
    testing::ExpectSameBits<double>("again", again, first);
    testing::ExpectSameBits<double>("poisoned", poisoned, first);
  }
}

TEST(BertEquivalenceTest, AnotherNumberOfThreadsAgrees) {
  const int threads = ComputeThreads();
  const RunConfig config = SmallBertConfig("gated");
  SetComputeThreads(1);
  const auto one = GradientInParts(config, DType::kFloat32, 6, 6, ArenaFill::kZero);
  for (int count : {2, 3}) {
    SetComputeThreads(count);
    const auto more = GradientInParts(config, DType::kFloat32, 6, 6, ArenaFill::kZero);
    testing::ExpectClose(std::to_string(count) + " threads", more, one,
                         {.absolute = 42 * 2 * testing::UnitRoundoff<float>() * Largest(one) * 6,
                          .zeros_expected = true,
                          .derivation = "only the library's order of summation may differ"});
  }
  SetComputeThreads(threads);
}

TEST(BertEquivalenceTest, GateForcedOpenEqualsVanillaAndZeroWeightsGiveHalf) {
  // With W_g = 0 every gate is exactly ½, so a gated model equals a vanilla one whose values count
  // half. With a large bias the gates are exactly 1 and the model is the vanilla one, to the bit.
  RunConfig gated_config = SmallBertConfig("gated", "value", "query", /*bias=*/true);
  gated_config.model.hidden_dropout_prob = gated_config.model.attention_probs_dropout_prob = 0;
  RunConfig vanilla_config = gated_config;
  vanilla_config.model.attention.variant = "vanilla";
  auto gated = MakeEngine(gated_config, DType::kFloat32, 3, 7);
  auto vanilla = MakeEngine(vanilla_config, DType::kFloat32, 3, 7);
  struct Gates : Observer {
    double lowest = 2, highest = -1;
    absl::Status Observe(ExecutionContext& /*context*/, int /*layer*/, absl::string_view tensor,
                         const TensorView& view) override {
      EXPECT_EQ(tensor, "gate");
      for (int64_t i = 0; i < view.elements(); ++i) {
        lowest = std::min<double>(lowest, view.as<float>()[i]);
        highest = std::max<double>(highest, view.as<float>()[i]);
      }
      return absl::OkStatus();
    }
  };
  const Batch batch = RandomBatch({}, 5);
  auto loss_with_gate_bias = [&](float bias, Gates& gates) {
    for (size_t p = 0; p < gated->parameters().parameters().size(); ++p) {
      const Parameter& parameter = gated->parameters().parameters()[p];
      if (parameter.name.find(".gate.") == std::string::npos) continue;
      const bool is_bias = parameter.name.ends_with("bias");
      std::fill_n(gated->parameters().Master(p).as<float>(), parameter.elements(),
                  is_bias ? bias : 0.0f);
    }
    CHECK_OK(gated->WeightsLoaded());
    ModelLosses losses;
    EXPECT_TRUE(gated->Evaluate(batch, losses, &gates).ok());
    return losses.language_model.loss;
  };
  ModelLosses vanilla_losses;
  ASSERT_TRUE(vanilla->Evaluate(batch, vanilla_losses).ok());
  Gates open, half;
  EXPECT_EQ(loss_with_gate_bias(100, open), vanilla_losses.language_model.loss);
  EXPECT_EQ(open.lowest, 1);
  EXPECT_NE(loss_with_gate_bias(0, half), vanilla_losses.language_model.loss);
  EXPECT_EQ(half.lowest, 0.5);
  EXPECT_EQ(half.highest, 0.5);
}

TEST(BertEquivalenceTest, DocumentsDoNotLeak) {
  // Two documents in one row, masked apart: changing the second leaves the first one's loss as it
  // is.
  const RunConfig config = SmallBertConfig("gated");
  auto engine = MakeEngine(config, DType::kFloat32, 1, 8);
  auto loss = [&](bool masked, int32_t last_token) {
    Batch batch = RandomBatch({.B = 1, .T = 8}, 9);
    batch.target_positions = {1};
    batch.targets = {5};
    batch.tokens[7] = last_token;
    if (masked) batch.documents = {0, 0, 0, 0, 1, 1, 1, 1};
    ModelLosses losses;
    EXPECT_TRUE(engine->Evaluate(batch, losses).ok());
    return losses.language_model.loss;
  };
  EXPECT_EQ(loss(true, 3), loss(true, 40));
  EXPECT_NE(loss(false, 3), loss(false, 40));
}

}  // namespace
}  // namespace sluice
