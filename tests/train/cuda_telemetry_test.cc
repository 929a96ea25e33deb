// What telemetry says of a model on the CUDA backend against what it says on the CPU: every figure
// of the records of an update, of attention maps, of outliers and of the Bigram-Backcopy metrics,
// of the same weights and the same data.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/bf16.h"
#include "data/nvidia_bert_for_tests.h"
#include "data/open_batch_source.h"
#include "loss_curves.h"
#include "telemetry_figures.h"
#include "training_run.h"

namespace sluice {
namespace {

using testing::Draw;
using testing::Figures;
using testing::TrainingRun;

class CudaTelemetryTest : public TrainingRun {
 protected:
  // By everything that looks at an update, which is two micro-batches of two sequences; three of
  // the four are looked at, so of the second micro-batch a part.
  RunConfig Watched(const std::string& architecture) const {
    RunConfig config = Config(1);
    config.model.architecture = architecture;
    config.model.hidden_size = 48;
    config.model.num_attention_heads = 3;
    config.model.attention.variant = "vanilla";
    // The first update by AdamW is of the size of the learning rate, whatever the gradient. A small
    // one would be lost in the roundings of the weights.
    config.optimizer.name = "sgd";
    config.optimizer.learning_rate = 1;
    config.schedule.warmup_steps = 0;
    config.training.global_batch_size = 4;
    config.training.gradient_accumulation_steps = 2;
    config.telemetry.gate_statistics_every = 1;
    config.telemetry.attention_statistics_every = 1;
    config.telemetry.activation_statistics_every = 1;
    config.telemetry.norm_statistics_every = 1;
    config.telemetry.statistics_sequences = 3;
    config.telemetry.tensorboard = false;
    return config;
  }

  // Rows of two segments with padding behind them.
  RunConfig PaddedBert() const {
    RunConfig config = Watched("bert");
    config.model.next_sentence_head = true;
    config.model.vocab_size = 61;
    config.data.source = "nvidia_bert";
    config.data.train = Run("pairs.hdf5");
    config.data.validation = {Run("pairs.hdf5")};
    testing::WriteNvidiaBert(Run("pairs.hdf5"), testing::RandomNvidiaBert(12, 16, 4, 61, 1));
    return config;
  }

  RunConfig Decoder(const std::string& architecture) const {
    RunConfig config = Watched(architecture);
    config.model.hidden_act = "relu";
    config.model.layer_norm_eps = 1e-5;
    return config;
  }

  // Rows of several documents, none of which sees another.
  RunConfig Opt() const {
    RunConfig config = Decoder("opt");
    config.model.word_embed_proj_dim = 24;
    config.data.attention_across_documents = false;
    return config;
  }

  RunConfig BigramBackcopy(const std::string& variant) const {
    RunConfig config = Decoder("bigram_backcopy");
    config.model.attention.variant = variant;
    config.model.attention.gate.site = "key";
    config.data.source = "bigram_backcopy";
    config.data.train = "";
    config.data.validation = {};
    config.data.validation_sequences = 5;
    return config;
  }

  Figures FiguresOn(const std::string& device, RunConfig config, const Draw& draw = {}) const {
    config.runtime.device = device;
    Figures figures;
    RunRanks(1, [&](Communicator& communicator) {
      auto trainer = Trainer::Create({config, Run("run"), "none"}, communicator);
      ASSERT_TRUE(trainer.ok()) << trainer.status();
      ASSERT_TRUE((*trainer)->Prepare().ok());
      Engine& engine = (*trainer)->engine();
      testing::SetWeights(engine, draw);
      auto sources = OpenValidationSources(config);
      ASSERT_TRUE(sources.ok()) << sources.status();
      testing::AddMaps(engine, *sources->front(), figures);
      testing::AddOutliers(engine, *sources->front(), communicator, figures);
      testing::AddSinks(engine, *sources->front(), communicator, figures);
      const absl::Status status = (*trainer)->Step();
      ASSERT_TRUE(status.ok()) << status;
      testing::AddRecords(Run("run"), figures);
    });
    return figures;
  }

  // How far draws of weights, each moved by `share` at most, take any figure of a statistic from
  // `figures`.
  std::map<std::string, double> FarthestOnCpu(const RunConfig& config, uint64_t draws, double share,
                                              const Figures& figures) const {
    std::map<std::string, double> farthest;
    for (uint64_t number = 1; number <= draws; ++number) {
      for (const auto& [statistic, values] : FiguresOn("cpu", config, {number, share})) {
        double& so_far = farthest[statistic];
        so_far = std::max(so_far, testing::LargestDistance(values, figures.at(statistic)));
      }
    }
    return farthest;
  }

  // Nothing was left out, on both devices alike.
  static void ExpectAll(const Figures& figures, const RunConfig& config) {
    const int64_t layers = config.model.num_hidden_layers, heads = config.model.num_attention_heads;
    const auto count = [&](const char* statistic) { return std::ssize(figures.at(statistic)); };
    EXPECT_EQ(count("attention entropy"), layers * heads);
    EXPECT_EQ(count("activations max_abs"), 2 + 6 * layers);
    EXPECT_EQ(count("outliers kurtosis_per_token"), 2 + 6 * layers);
    EXPECT_EQ(count("maps p"), 2 * layers * heads * 16 * 16);
    EXPECT_GT(count("norms update"), 20);
    const bool gated = config.model.attention.variant == "gated";
    EXPECT_EQ(figures.contains("gates mean"), gated);
    if (gated) {
      EXPECT_GT(std::ranges::max(figures.at("gates share_below")), 0);
      EXPECT_GT(std::ranges::max(figures.at("gates share_above")), 0);
    }
    EXPECT_EQ(figures.contains("bigram_backcopy backcopy_risk"),
              config.model.architecture == "bigram_backcopy");
  }

  // fp32: tensors of a pass differ by some 76 u of their largest (tests/model/golden_model.h). What
  // as much in every product does to a figure, the CPU says of weights that are off by as much.
  void ExpectSameFigures(const std::string& name, const RunConfig& config) const {
    const Figures cpu = FiguresOn("cpu", config), cuda = FiguresOn("cuda", config);
    ExpectAll(cpu, config);
    const auto farthest = FarthestOnCpu(config, 2, 76 * testing::UnitRoundoff<float>(), cpu);
    ASSERT_EQ(cuda.size(), cpu.size());
    for (const auto& [statistic, values] : cpu) {
      testing::ExpectClose(absl::StrCat(name, " ", statistic), cuda.at(statistic), values,
                           {.absolute = farthest.at(statistic),
                            .zeros_expected = true,
                            .derivation = "what 76 u of every weight do, more of two draws"});
    }
  }

  // bf16: as far from fp32 as its roundings take the CPU, of which weights that are off by one show
  // other draws. Shares of gates are counts, which a gate near the threshold moves by a whole one.
  void ExpectAsFarInBf16(const std::string& name, RunConfig config) const {
    const Figures fp32 = FiguresOn("cpu", config);
    ExpectAll(fp32, config);
    config.training.precision = "bf16";
    const Figures cuda = FiguresOn("cuda", config);
    const auto farthest = FarthestOnCpu(config, 4, testing::UnitRoundoff<bf16>(), fp32);
    ASSERT_EQ(cuda.size(), fp32.size());
    for (const auto& [statistic, values] : fp32) {
      if (absl::StartsWith(statistic, "gates share")) continue;
      testing::ExpectClose(
          absl::StrCat(name, " bf16 ", statistic), cuda.at(statistic), values,
          {.absolute = 2 * farthest.at(statistic) + testing::EffectOfOneRounding<bf16>(values),
           .zeros_expected = true,
           .derivation = "twice the CPU's largest distance from fp32 + 2⁻⁸ · range"});
    }
  }
};

// What a model's attention has.
struct Variant {
  const char* name;
  std::function<void(AttentionConfig&)> set;
};

TEST_F(CudaTelemetryTest, BertWithPadding) {
  const Variant variants[] = {
      {"gate_query", [](AttentionConfig& a) { a.variant = "gated"; }},
      {"gate_key_input_channel",
       [](AttentionConfig& a) {
         a.variant = "gated";
         a.gate = {.source = "input", .site = "key", .granularity = "channel"};
       }},
      {"sink_token",
       [](AttentionConfig& a) {
         a.variant = "learnable_sink";
         a.learnable_sink = "token";
       }},
      {"softmax_plus_one", [](AttentionConfig& a) { a.variant = "softmax_plus_one"; }},
  };
  for (const Variant& variant : variants) {
    RunConfig config = PaddedBert();
    variant.set(config.model.attention);
    ExpectSameFigures(std::string("bert ") + variant.name, config);
  }
}

// Of text with special tokens.
TEST_F(CudaTelemetryTest, BertWithRegisters) {
  RunConfig config = Watched("bert");
  config.model.attention.register_tokens = 2;
  ExpectSameFigures("bert registers", config);
}

TEST_F(CudaTelemetryTest, OptWithDocuments) {
  const Variant variants[] = {
      {"vanilla", [](AttentionConfig&) {}},
      {"gate_query_channel",
       [](AttentionConfig& a) {
         a.variant = "gated";
         a.gate.granularity = "channel";
       }},
      {"sink_logit", [](AttentionConfig& a) { a.variant = "learnable_sink"; }},
      {"clipped_softmax",
       [](AttentionConfig& a) {
         a.variant = "clipped_softmax";
         a.clipped_softmax = {.gamma = -0.1, .zeta = 1.05};
       }},
      {"relu", [](AttentionConfig& a) { a.variant = "relu"; }},
      {"gate_key_one_layer_registers",
       [](AttentionConfig& a) {
         a.variant = "gated";
         a.gate = {.site = "key", .layers = {1}};
         a.register_tokens = 2;
       }},
  };
  for (const Variant& variant : variants) {
    RunConfig config = Opt();
    variant.set(config.model.attention);
    ExpectSameFigures(std::string("opt ") + variant.name, config);
  }
}

TEST_F(CudaTelemetryTest, BigramBackcopy) {
  ExpectSameFigures("bigram_backcopy", BigramBackcopy("gated"));
}

TEST_F(CudaTelemetryTest, InBf16) {
  RunConfig bert = PaddedBert();
  bert.model.attention.variant = "gated";
  ExpectAsFarInBf16("bert", bert);
  ExpectAsFarInBf16("opt", Opt());
  ExpectAsFarInBf16("bigram_backcopy", BigramBackcopy("vanilla"));
}

}  // namespace
}  // namespace sluice
