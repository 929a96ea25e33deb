#include "train/integer_evaluation.h"

#include <cmath>

#include "data/open_batch_source.h"
#include "train/load_model.h"
#include "train/training_run.h"

namespace sluice {
namespace {

using IntegerEvaluationTest = testing::TrainingRun;

TEST(IntegerAgreementTest, ToleranceIsFourDeviationsOfTwoRoundings) {
  // Simulated less fp32: 1 ± 0.01; integers less simulated: 0.002 on average.
  std::vector<double> fp32, simulated, integer;
  for (int b = 0; b < 16; ++b) {
    fp32.push_back(3 + b);
    simulated.push_back(fp32.back() + 1 + (b % 2 == 0 ? 0.01 : -0.01));
    integer.push_back(simulated.back() + (b % 2 == 0 ? 0.03 : -0.026));
  }
  const IntegerAgreement agreement = Compare(fp32, simulated, integer);
  EXPECT_NEAR(agreement.difference, 0.002, 1e-12);
  const double deviation = 0.01 * std::sqrt(16.0 / 15);
  EXPECT_NEAR(agreement.tolerance, 4 * std::sqrt(2.0) * deviation / std::sqrt(16.0), 1e-12);
  EXPECT_TRUE(agreement.judged);
  EXPECT_TRUE(agreement.agrees());
  EXPECT_NEAR(agreement.batch_difference, std::sqrt((0.03 * 0.03 + 0.026 * 0.026) / 2), 1e-12);
  EXPECT_NEAR(agreement.batch_tolerance, 4 * std::sqrt(2.0) * deviation, 1e-12);
  for (double& loss : integer) loss -= 0.02;
  EXPECT_FALSE(Compare(fp32, simulated, integer).agrees());
  EXPECT_FALSE(Compare(fp32, simulated, std::vector<double>(16, NAN)).agrees());
}

// Wrong in every batch, right on average.
TEST(IntegerAgreementTest, DifferencesOfBothSignsDoNotMakeUpForEachOther) {
  std::vector<double> fp32, simulated, integer;
  for (int b = 0; b < 16; ++b) {
    const double sign = b % 2 == 0 ? 1 : -1;
    fp32.push_back(3 + b);
    simulated.push_back(fp32.back() + 1 + 0.01 * sign);
    integer.push_back(simulated.back() + 0.06 * sign);
  }
  const IntegerAgreement agreement = Compare(fp32, simulated, integer);
  EXPECT_NEAR(agreement.difference, 0, 1e-12);
  EXPECT_FALSE(agreement.agrees());
}

TEST(IntegerAgreementTest, FewBatchesAreNotJudged) {
  const std::vector<double> losses(7, 1.0);
  EXPECT_FALSE(Compare(losses, losses, losses).judged);
}

// Nothing deviates where quantization changes nothing: that is judged, and agrees.
TEST(IntegerAgreementTest, NoDeviationMayBeNone) {
  const std::vector<double> losses(8, 1.0);
  const IntegerAgreement agreement = Compare(losses, losses, losses);
  EXPECT_TRUE(agreement.judged);
  EXPECT_EQ(agreement.tolerance, 0);
  EXPECT_TRUE(agreement.agrees());
}

// How many batches the published quantizations are calibrated on, and where they come from.
TEST(QuantizationPresetTest, AreThePublished) {
  const QuantizationPreset bert = BertPreset(), opt = OptPreset();
  EXPECT_EQ(bert.calibration_batches, 16);
  EXPECT_EQ(bert.calibration_batch_size, 32);
  EXPECT_FALSE(bert.calibrates_on_training_data);
  EXPECT_EQ(opt.calibration_batches, 4);
  EXPECT_EQ(opt.calibration_batch_size, 8);
  EXPECT_TRUE(opt.calibrates_on_training_data);
  EXPECT_EQ(opt.options.weights.ranges, WeightRanges::kLeastSquares);
  EXPECT_EQ(opt.options.activations.percentile, 99.999);
}

TEST_F(IntegerEvaluationTest, AgreesWithTheSimulation) {
  for (const char* architecture : {"bert", "opt"}) {
    RunConfig config = Config(30);
    config.model.architecture = architecture;
    if (architecture == std::string("opt")) config.model.hidden_act = "relu";
    ASSERT_TRUE(Train(config, architecture, 1).ok());
    RunRanks(2, [&](Communicator& communicator) {
      const LoadedModel model =
          LoadModel(Run(architecture), {.max_batch = 4, .precision = "fp32"}).value();
      const auto sources = OpenValidationSources(model.config).value();
      const std::vector<Batch> calibration = ReadBatches(*sources[0], 4, 4).value();
      const auto all = EvaluateInIntegers(*model.engine, *sources[0], communicator,
                                          {.calibration = calibration,
                                           .options = BertPreset().options,
                                           .batch_size = 2,
                                           .batches = 0});
      ASSERT_TRUE(all.ok()) << all.status();
      ASSERT_TRUE(all->agreement.judged);
      std::printf(
          "[tolerance] %s: perplexity fp32 %.5f, simulated %.5f, integer %.5f; used %.2g %% "
          "of %.2g nats\n",
          architecture, all->fp32.perplexity, all->simulated.perplexity, all->integer.perplexity,
          100 * std::abs(all->agreement.difference) / all->agreement.tolerance,
          all->agreement.tolerance);
      EXPECT_TRUE(all->agreement.agrees());
      EXPECT_NE(all->integer.loss, all->fp32.loss);
      EXPECT_EQ(all->fp32.batch_losses.size(), all->integer.batch_losses.size());
      // The weights are back.
      const auto again = Evaluate(*model.engine, *sources[0], communicator, 2, 0);
      EXPECT_EQ(again->loss, all->fp32.loss);
    });
  }
}

}  // namespace
}  // namespace sluice
