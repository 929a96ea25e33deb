#include "config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"

namespace sluice {
namespace {

using testing::HasSubstr;

RunConfig Valid() {
  RunConfig config;
  config.data.train = "t";
  return config;
}

TEST(ValidateRunConfigTest, DefaultsOnlyLackTheirData) {
  EXPECT_TRUE(ValidateRunConfig(Valid()).ok());
  EXPECT_TRUE(ValidateRunConfig(RunConfig(), ConfigUse::kInspection).ok());
  const absl::Status status = ValidateRunConfig(RunConfig());
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("missing key: data.train \"\", set it"));
}

TEST(ValidateRunConfigTest, ChecksRangesOfConfigsMadeInCode) {
  RunConfig config = Valid();
  config.optimizer.beta1 = std::numeric_limits<double>::quiet_NaN();
  config.model.num_attention_heads = 0;  // must not divide by it
  config.training.gradient_accumulation_steps = 0;
  config.training.precision = "fp8";
  const std::string message(ValidateRunConfig(config).message());
  EXPECT_EQ(message,
            "4 problems: configuration\n"
            "  1. out of range: model.num_attention_heads 0, expected an integer from 1 to 1024\n"
            "  2. out of range: optimizer.beta1 nan, expected a number from 0.0 to 1.0, 1.0 "
            "excluded\n"
            "  3. out of range: training.gradient_accumulation_steps 0, expected an integer from 1 "
            "to 1048576\n"
            "  4. out of range: training.precision fp8, expected one of: fp32, bf16, fp16");
}

TEST(ValidateRunConfigTest, HalfPrecisionIsForGpus) {
  RunConfig config = Valid();
  config.training.precision = "fp16";
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()),
              HasSubstr("CPUs have no fp16 kernels: training.precision fp16, runtime.device cpu, "
                        "set training.precision to bf16, or runtime.device to cuda"));
  EXPECT_TRUE(ValidateRunConfig(config, ConfigUse::kInspection).ok());
  config.runtime.device = "cuda";
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.training.loss_scale.minimum = 8192;
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()),
              HasSubstr("the loss scale would start below its minimum"));
}

TEST(GateConfigTest, StartsAndScales) {
  EXPECT_EQ(GateStart({}), 0.5);
  EXPECT_EQ(GateStart({.bias = true}), 0);
  EXPECT_EQ(GateStart({.bias = true, .initial_probability = 0.25}), 0.25);
  EXPECT_EQ(GateStart({.predictor = "mlp"}), 0);
  EXPECT_EQ(GateStart({.predictor = "free_scalar"}), 0.5);
  EXPECT_EQ(GateScale({}), 1);
  EXPECT_EQ(GateScale({.scale = "2.5"}), 2.5);
  EXPECT_EQ(GateScale({.scale = "one_at_start"}), 2);
  EXPECT_EQ(GateScale({.initial_probability = 0.25, .predictor = "mlp", .scale = "one_at_start"}),
            4);
  EXPECT_EQ(GateScale({.predictor = "mlp", .scale = "one_at_start"}), 0);
  EXPECT_EQ(GateScale({.scale = "four"}), 0);
}

TEST(GateConfigTest, LayersAreGatedWhereNamedOrAll) {
  AttentionConfig attention;
  EXPECT_FALSE(IsGated(attention, 0));
  attention.variant = "gated";
  EXPECT_TRUE(IsGated(attention, 0) && IsGated(attention, 7));
  attention.gate.layers = {1, 3};
  EXPECT_TRUE(!IsGated(attention, 0) && IsGated(attention, 1) && !IsGated(attention, 2));
  attention.variant = "vanilla";
  EXPECT_FALSE(IsGated(attention, 1));
}

// What a configuration made in code may say wrongly; of files tests/tools has the rest.
TEST(GateConfigTest, RefusesStartsAndLayersThatAreNone) {
  RunConfig config = Valid();
  config.model.attention.variant = "gated";
  GateConfig& gate = config.model.attention.gate;
  gate.layers = {0, 11};
  gate.scale = "one_at_start";
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  gate.layers = {-1, 3, 12};
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()), HasSubstr("no such layer"));
  gate.layers = {};
  gate.predictor = "mlp";
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()),
              HasSubstr("the gate starts at no known value: model.attention.gate.scale "
                        "one_at_start, model.attention.gate.initial_probability 0.0, set "));
  gate.initial_probability = 0.25;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  gate.scale = "inf";
  EXPECT_FALSE(ValidateRunConfig(config).ok());
  config.model.attention.variant = "vanilla";  // where nothing of the gate is read
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
}

TEST(ValidateRunConfigTest, EdgesOfTheRulesAreAllowed) {
  RunConfig config = Valid();
  config.model.hidden_size = 256;
  for (int64_t heads : {1, 32}) {  // head sizes 256 and 8
    config.model.num_attention_heads = heads;
    EXPECT_TRUE(ValidateRunConfig(config).ok()) << heads;
  }
  config.model.num_attention_heads = 64;  // head size 4
  EXPECT_FALSE(ValidateRunConfig(config).ok());
  config.model.num_attention_heads = 4;
  config.data.sequence_length = config.model.max_position_embeddings;
  config.schedule.warmup_steps = config.training.steps;
  config.data.mlm_mask_share = 0.7;
  config.data.mlm_random_share = 0.3;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.mlm_mask_share = 0.1 + 0.2 + 0.4;  // 0.7000000000000001
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.mlm_mask_share = 0.701;
  EXPECT_FALSE(ValidateRunConfig(config).ok());
}

RunConfig Generated() {
  RunConfig config;
  config.model.architecture = "bigram_backcopy";
  config.data.source = "bigram_backcopy";
  return config;
}

TEST(ValidateRunConfigTest, GeneratedDataNeedsNoFiles) {
  RunConfig config = Generated();
  config.training.evaluate_every = 10;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.model.architecture = "opt";
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.validation_sequences = 0;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "nothing to evaluate on: training.evaluate_every 10, data.validation_sequences 0");
  config = Generated();
  config.model.architecture = "bert";
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "the data asks for the next tokens, the model for masked ones: data.source "
            "bigram_backcopy, model.architecture bert");
}

TEST(ValidateRunConfigTest, SinksAreMeasuredWhereTheyCanBe) {
  RunConfig config = Generated();
  config.telemetry.bigram_backcopy_every = 100;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.telemetry.bigram_backcopy_every_early = 20;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "one without the other says nothing: telemetry.bigram_backcopy_every_early 20, "
            "telemetry.bigram_backcopy_early_steps 0");
  config.telemetry.bigram_backcopy_early_steps = 100;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.validation_sequences = 0;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "nothing to measure sinks on: telemetry.bigram_backcopy_every 100, "
            "data.validation_sequences 0");
  config = Generated();
  config.telemetry.bigram_backcopy_every = 100;
  config.model.architecture = "opt";
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "sinks are measured in a model without biases: telemetry.bigram_backcopy_every 100, "
            "model.architecture opt");
}

TEST(ValidateRunConfigTest, MapsAndAlarmsNeedSomethingToLookAt) {
  RunConfig config = Valid();
  config.data.validation = {"v"};
  config.telemetry.attention_maps_every = 100;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.validation.clear();
  config.training.evaluate_every = 0;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "nothing to draw attention maps of: telemetry.attention_maps_every 100, "
            "data.validation []");
  config = Valid();
  config.telemetry.attention_map_indices = {3, 17};
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "sequences for attention maps that are never drawn: telemetry.attention_map_indices "
            "[3, 17], telemetry.attention_maps_every 0");
  config.data.validation = {"v"};
  config.telemetry.attention_maps_every = 100;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.telemetry.attention_map_sequences = 3;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "another number of sequences than are named: telemetry.attention_map_sequences 3, "
            "telemetry.attention_map_indices [3, 17]");
  config.telemetry.attention_map_sequences = 2;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.telemetry.attention_map_indices = {17, 17};
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "sequences are not in ascending order: telemetry.attention_map_indices [17, 17]");
  config.telemetry.attention_map_indices = {-1, 17};
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "no such sequence: telemetry.attention_map_indices [-1, 17]");
  // 144 heads of 12 layers, 512 tokens: one sequence is a little too much.
  config = Valid();
  config.data.validation = {"v"};
  config.telemetry.attention_maps_every = 100;
  config.data.sequence_length = config.model.max_position_embeddings = 512;
  config.telemetry.attention_map_tokens = 480;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.telemetry.attention_map_tokens = 512;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "attention maps of more than 33554432 numbers in all: "
            "telemetry.attention_map_sequences 1, telemetry.attention_map_tokens 512, "
            "model.num_hidden_layers 12, model.num_attention_heads 12, these are 37748736");
  config = Valid();
  config.telemetry.alarms.max_abs = 50;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.telemetry.activation_statistics_every = 0;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "an alarm on what is not looked at: telemetry.alarms.max_abs 50.0, "
            "telemetry.activation_statistics_every 0");
  config.telemetry.alarms = {.sink_share = 0.5, .max_abs = 0};
  EXPECT_TRUE(ValidateRunConfig(config).ok());
  config.telemetry.attention_statistics_every = 0;
  EXPECT_EQ(ValidateRunConfig(config).message(),
            "an alarm on what is not looked at: telemetry.alarms.sink_share 0.5, "
            "telemetry.attention_statistics_every 0");
}

TEST(ValidateRunConfigTest, StoredMasksNeedAVocabularySizeToTrain) {
  RunConfig config = Valid();
  config.data.source = "nvidia_bert";
  EXPECT_FALSE(ValidateRunConfig(config).ok());
  EXPECT_TRUE(ValidateRunConfig(config, ConfigUse::kInspection).ok());
  config.model.vocab_size = 30522;
  config.model.next_sentence_head = true;
  EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  config.data.train = "";
  EXPECT_THAT(std::string(ValidateRunConfig(config).message()),
              HasSubstr("missing key: data.train"));
}

TEST(ValidateRunConfigTest, ADecoderTrainsOnShards) {
  for (const char* architecture : {"opt", "bigram_backcopy"}) {
    RunConfig config = Valid();
    config.model.architecture = architecture;
    EXPECT_TRUE(ValidateRunConfig(config).ok()) << ValidateRunConfig(config);
  }
}

TEST(ValidateWorldSizeTest, NamesTheNearestSizes) {
  RunConfig config = Valid();
  config.training.global_batch_size = 100;
  config.training.gradient_accumulation_steps = 2;
  EXPECT_TRUE(ValidateWorldSize(config, 1).ok());
  EXPECT_TRUE(ValidateWorldSize(config, 25).ok());
  const absl::Status status = ValidateWorldSize(config, 3);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_EQ(status.message(),
            "batch cannot be shared evenly among the ranks: training.global_batch_size 100, 3 "
            "ranks x training.gradient_accumulation_steps 2, the nearest sizes that can: 96 and "
            "102");
  EXPECT_THAT(std::string(ValidateWorldSize(config, 64).message()),
              HasSubstr("the nearest size that can: 128"));
}

}  // namespace
}  // namespace sluice
