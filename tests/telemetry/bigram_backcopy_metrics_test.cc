// The metrics against their definitions, written out once more in double over the reference's
// tensors: whole T×T matrices, no running sums, no code of the telemetry's.
#include "telemetry/bigram_backcopy_metrics.h"

#include <cmath>
#include <map>
#include <numeric>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "config/load.h"
#include "gmock/gmock.h"
#include "model/small_model.h"
#include "train/bigram_backcopy_evaluation.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::SmallDecoderConfig;
using Matrix = std::vector<std::vector<double>>;

constexpr int64_t kT = 12, kSequences = 10;

std::unique_ptr<BigramBackcopySource> Source(int64_t T = kT, int64_t sequences = kSequences) {
  auto source =
      BigramBackcopySource::Create({.sequence_length = T, .evaluation_sequences = sequences});
  EXPECT_TRUE(source.ok());
  return *std::move(source);
}

RunConfig Config(const std::string& variant, int64_t heads = 1) {
  RunConfig config = SmallDecoderConfig("bigram_backcopy", variant);
  config.model.vocab_size = 65;
  config.model.num_attention_heads = heads;
  config.data.sequence_length = kT;
  return config;
}

// Every tensor of one pass over all sequences, as rows of numbers.
class Everything : public Observer {
 public:
  bool Wants(absl::string_view) const override { return true; }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    Matrix& rows = tensors[{layer, std::string(tensor)}];
    for (int64_t row = 0; row < view.rows(); ++row) {
      const double* from = view.as<double>() + row * view.row_stride();
      rows.emplace_back(from, from + view.dim(-1));
    }
  }
  std::map<std::pair<int, std::string>, Matrix> tensors;
};

double Norm(const std::vector<double>& x) {
  return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
}
double Mean(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

// The definitions, for one layer.
struct Naive {
  const Engine& engine;
  const BigramBackcopy& task;
  const Batch& batch;
  Everything& seen;
  int layer;

  int64_t R() const { return engine.config().model.attention.register_tokens; }
  int64_t H() const { return engine.config().model.num_attention_heads; }
  int64_t C() const { return engine.config().model.hidden_size; }
  int64_t D() const { return C() / H(); }
  const std::vector<double>& RowOf(const char* tensor, int64_t b, int64_t i) const {
    return seen.tensors.at({layer, tensor})[static_cast<size_t>(b * (R() + kT) + R() + i)];
  }
  const double* Weight(const std::string& name) const {
    const auto& all = engine.parameters().parameters();
    for (size_t p = 0; p < all.size(); ++p) {
      if (all[p].name == name) return engine.parameters().Master(static_cast<int>(p)).as<double>();
    }
    ADD_FAILURE() << name;
    return nullptr;
  }
  std::string Prefix() const { return "layers." + std::to_string(layer) + ".attention."; }
  bool Trigger(int64_t b, int64_t i) const { return Token(b, i) < 3; }
  int32_t Token(int64_t b, int64_t i) const {
    return batch.tokens[static_cast<size_t>(b * kT + i)];
  }

  double Score(int64_t b, int64_t h, int64_t i, int64_t j) const {
    const auto& q = RowOf("attention.qkv", b, i);
    const auto& k = RowOf("attention.qkv", b, j);
    double dot = 0;
    for (int64_t d = 0; d < D(); ++d) {
      dot += q[static_cast<size_t>(h * D() + d)] * k[static_cast<size_t>(C() + h * D() + d)];
    }
    return dot / std::sqrt(static_cast<double>(D()));
  }
  // Keys -R … i, then the sink token where there is one; what is no key adds to the denominator.
  std::vector<double> Probabilities(int64_t b, int64_t h, int64_t i) const {
    std::vector<double> p;
    for (int64_t j = -R(); j <= i; ++j) p.push_back(std::exp(Score(b, h, i, j)));
    const AttentionConfig& attention = engine.config().model.attention;
    double sum = 0;
    if (attention.variant == "softmax_plus_one") sum = 1;
    if (attention.variant == "learnable_sink" && attention.learnable_sink == "logit") {
      sum = std::exp(Weight(Prefix() + "sink.logit")[h]);
    }
    if (attention.variant == "learnable_sink" && attention.learnable_sink == "token") {
      const auto& q = RowOf("attention.qkv", b, i);
      double dot = 0;
      for (int64_t d = 0; d < D(); ++d) {
        dot += q[static_cast<size_t>(h * D() + d)] * Weight(Prefix() + "sink.key")[h * D() + d];
      }
      p.push_back(std::exp(dot / std::sqrt(static_cast<double>(D()))));
    }
    for (double value : p) sum += value;
    for (double& value : p) value /= sum;
    if (attention.variant == "relu") {
      for (int64_t j = -R(); j <= i; ++j) {
        p[static_cast<size_t>(j + R())] =
            std::max(Score(b, h, i, j), 0.0) / static_cast<double>(R() + i + 1);
      }
    }
    if (attention.variant == "clipped_softmax") {
      const double gamma = static_cast<float>(attention.clipped_softmax.gamma);
      const double zeta = static_cast<float>(attention.clipped_softmax.zeta);
      for (double& value : p) value = std::min(1.0, std::max(0.0, (zeta - gamma) * value + gamma));
    }
    return p;
  }
  double OutputNorm(int64_t b, int64_t i) const {
    const double* weight = Weight(Prefix() + "output.weight");
    std::vector<double> out(static_cast<size_t>(C()));
    for (int64_t c = 0; c < C(); ++c) {
      for (int64_t d = 0; d < C(); ++d) {
        out[static_cast<size_t>(c)] +=
            weight[c * C() + d] * RowOf("attention.qkv", b, i)[static_cast<size_t>(2 * C() + d)];
      }
    }
    return Norm(out);
  }

  std::map<std::string, double> Metrics() const {
    std::map<std::string, std::vector<double>> lists;
    std::map<int32_t, std::vector<double>> types;
    for (int64_t b = 0; b < kSequences; ++b) {
      for (int64_t i = 0; i < kT; ++i) AddPosition(b, i, lists, types);
    }
    std::map<std::string, double> metrics;
    for (const auto& [name, values] : lists) metrics[name] = Mean(values);
    std::vector<double> others, triggers;
    for (const auto& [token, values] : types) {
      (token < 3 ? triggers : others).push_back(Mean(values));
    }
    std::sort(others.begin(), others.end());
    metrics["delta_logit_type"] = Mean(others);
    metrics["delta_logit_type_trigger"] = Mean(triggers);
    for (int percent : {10, 90}) {
      const double at = percent / 100.0 * static_cast<double>(others.size() - 1);
      const double low = others[static_cast<size_t>(std::floor(at))];
      const double high = others[static_cast<size_t>(std::ceil(at))];
      metrics["delta_logit_type_p" + std::to_string(percent)] =
          low + (high - low) * (at - std::floor(at));
    }
    metrics["value_ratio"] = metrics["output_value_norm_start"] / metrics["OUTPUT"];
    metrics.erase("OUTPUT");
    metrics["residual_gap"] = metrics["residual_norm_start"] - metrics["residual_norm_others"];
    return metrics;
  }

  void AddPosition(int64_t b, int64_t i, std::map<std::string, std::vector<double>>& lists,
                   std::map<int32_t, std::vector<double>>& types) const {
    const bool trigger = Trigger(b, i);
    lists[i == 0 ? "residual_norm_start" : "residual_norm_others"].push_back(
        Norm(RowOf("feed_forward.residual_sum", b, i)));
    if (i == 0) lists["output_value_norm_start"].push_back(OutputNorm(b, 0));
    if (i > 0 && !trigger) lists["OUTPUT"].push_back(OutputNorm(b, i));
    AddGatesAndValue(b, i, lists);
    for (int64_t h = 0; h < H(); ++h) {
      const std::vector<double> p = Probabilities(b, h, i);
      const auto at = [&](int64_t j) { return p[static_cast<size_t>(R() + j)]; };
      if (trigger) lists["attention_to_previous"].push_back(at(i - 1));
      if (!trigger) lists["attention_to_start_guo"].push_back(at(0));
      if (i == 0) continue;
      if (!trigger) {
        lists["attention_to_start"].push_back(at(0));
        double mass = 0, entropy = 0;
        for (int64_t j = 0; j <= i; ++j) mass += Trigger(b, j) ? at(j) : 0;
        for (double value : p) entropy -= value > 0 ? value * std::log(value) : 0;
        lists["attention_to_triggers"].push_back(mass);
        lists["attention_entropy"].push_back(entropy);
      }
      std::vector<double> keys, earlier;
      for (int64_t j = 1; j <= i; ++j) keys.push_back(Score(b, h, i, j));
      for (int64_t j = 1; j < i; ++j) earlier.push_back(Score(b, h, i, j));
      lists[trigger ? "delta_logit_token_trigger" : "delta_logit_token"].push_back(
          Score(b, h, i, 0) - Mean(keys));
      if (i >= 2) types[Token(b, i)].push_back(Score(b, h, i, 0) - Mean(earlier));
    }
  }

  void AddGatesAndValue(int64_t b, int64_t i,
                        std::map<std::string, std::vector<double>>& lists) const {
    const auto& qkv = RowOf("attention.qkv", b, i);
    std::vector<double> value(qkv.begin() + 2 * C(), qkv.end());
    if (i == 0) lists["value_norm_start"].push_back(Norm(value));
    const AttentionConfig& attention = engine.config().model.attention;
    if (attention.variant != "gated") return;
    const auto& gate = RowOf("gate", b, i);
    lists[i == 0          ? "gate_start"
          : Trigger(b, i) ? "gate_trigger"
                          : "gate_non_trigger"]
        .push_back(Mean(gate));
    if (i > 0 || attention.gate.site != "key") return;
    for (int64_t c = 0; c < C(); ++c) {
      value[static_cast<size_t>(c)] *=
          gate[static_cast<size_t>(std::ssize(gate) == C() ? c : c / D())];
    }
    lists["gated_value_norm_start"].push_back(Norm(value));
  }
};

std::map<std::string, double> AsMap(const BigramBackcopyMetrics& metrics) {
  const auto values = NamedValues(metrics);
  return {values.begin(), values.end()};
}

BigramBackcopyMetrics Evaluate(Engine& engine, int64_t batch_size) {
  SingleCommunicator alone;
  auto source = Source();
  auto metrics = EvaluateBigramBackcopy(engine, *source, alone, {.batch_size = batch_size});
  EXPECT_TRUE(metrics.ok()) << metrics.status();
  return *metrics;
}

std::vector<RunConfig> Configs() {
  std::vector<RunConfig> configs = {Config("vanilla"),
                                    Config("vanilla", 3),
                                    Config("softmax_plus_one", 3),
                                    Config("clipped_softmax", 3),
                                    Config("relu", 3),
                                    Config("learnable_sink", 3),
                                    Config("learnable_sink", 3)};
  configs[3].model.attention.clipped_softmax = {.gamma = -0.1, .zeta = 1.05};
  configs[6].model.attention.learnable_sink = "token";
  for (const char* source : {"value", "input"}) {
    for (const char* site : {"query", "key"}) {
      configs.push_back(Config("gated", 3));
      configs.back().model.attention.gate = {.source = source, .site = site};
    }
  }
  configs.push_back(configs.back());
  configs.back().model.attention.gate.granularity = "channel";
  configs.push_back(Config("gated"));
  configs.back().model.attention.register_tokens = 2;
  return configs;
}

// Double against double: sums of at most some thousand terms of size 1 to 100.
TEST(BigramBackcopyMetricsTest, EveryVariantHasTheDefinitionsNumbers) {
  for (const RunConfig& config : Configs()) {
    const AttentionConfig& attention = config.model.attention;
    SCOPED_TRACE(attention.variant + " " + attention.gate.source + " " + attention.gate.site + " " +
                 attention.gate.granularity);
    auto engine = MakeEngine(config, DType::kFloat64, kSequences, kT);
    auto source = Source();
    Batch batch;
    ASSERT_TRUE(source->Fill(0, kSequences, &batch).ok());
    Everything seen;
    ModelLosses losses;
    ASSERT_TRUE(engine->Evaluate(batch, losses, &seen).ok());
    const std::map<std::string, double> found = AsMap(Evaluate(*engine, 4));
    size_t compared = 0;
    for (int layer = 0; layer < 2; ++layer) {
      for (const auto& [name, value] :
           Naive{*engine, source->task(), batch, seen, layer}.Metrics()) {
        const std::string full = "layer_" + std::to_string(layer) + "." + name;
        ASSERT_TRUE(found.contains(full)) << full;
        EXPECT_NEAR(found.at(full), value, 1e-10 * (1 + std::abs(value))) << full;
        ++compared;
      }
    }
    EXPECT_EQ(compared + 12, found.size());  // three times four risks
  }
}

// A gate that is shut to the last bit is a gate: it is recorded as 0, not left out.
TEST(BigramBackcopyMetricsTest, ShutGatesAreRecorded) {
  int shut = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    RunConfig config = Config("gated");
    config.training.seed = seed;
    config.model.attention.gate.temperature = 1e-6;  // σ of thousands: 0 or 1
    auto engine = MakeEngine(config, DType::kFloat64, kSequences, kT);
    const std::map<std::string, double> found = AsMap(Evaluate(*engine, 4));
    for (const char* layer : {"layer_0.", "layer_1."}) {
      for (const char* gate : {"gate_start", "gate_trigger", "gate_non_trigger"}) {
        ASSERT_TRUE(found.contains(std::string(layer) + gate)) << layer << gate << " " << seed;
      }
      shut += found.at(std::string(layer) + "gate_start") == 0;
    }
  }
  EXPECT_GT(shut, 0);
}

double KlOfRow(const BigramBackcopy& task, int32_t token, bool start,
               const std::vector<double>& p) {
  double kl = 0;
  for (int32_t k = 0; k < task.ordinary_tokens(); ++k) {
    const double row = start ? task.Marginal(k) : task.Conditional(token, k);
    if (row > 0) kl += row * std::log(row / p[static_cast<size_t>(k)]);
  }
  return kl;
}

// The risks from probabilities that the head's own logits give, one position at a time.
BigramBackcopyRiskValues NaiveRisks(Engine& engine, Observer* observer) {
  auto source = Source();
  const BigramBackcopy& task = source->task();
  Batch batch;
  EXPECT_TRUE(source->Fill(0, kSequences, &batch).ok());
  std::vector<double> backcopy, bigram, guo;
  for (int32_t row = 0; row < kSequences * kT; ++row) {
    auto logits = engine.Predict(batch, {row}, observer);
    EXPECT_TRUE(logits.ok());
    std::vector<double> p(65);
    double sum = 0;
    for (size_t k = 0; k < 65; ++k) {
      sum += p[k] = std::exp(logits->view().as<double>()[k]);
    }
    for (double& value : p) value /= sum;
    const int32_t token = batch.tokens[static_cast<size_t>(row)];
    if (token < 3) {
      backcopy.push_back(-std::log(p[static_cast<size_t>(batch.tokens[row - 1])]));
    } else {
      guo.push_back(KlOfRow(task, token, row % kT == 0, p));
      if (row % kT > 0) bigram.push_back(guo.back());
    }
  }
  return {.backcopy = Mean(backcopy), .bigram = Mean(bigram), .bigram_guo = Mean(guo)};
}

void ExpectSameRisks(const BigramBackcopyRiskValues& found,
                     const BigramBackcopyRiskValues& expected) {
  EXPECT_NEAR(found.backcopy, expected.backcopy, 1e-10);
  EXPECT_NEAR(found.bigram, expected.bigram, 1e-10);
  EXPECT_NEAR(found.bigram_guo, expected.bigram_guo, 1e-10);
  EXPECT_GT(found.bigram_cross_entropy_guo, found.bigram_guo + 1);  // entropies of 2 to 3 nats
}

// Takes a part away by other means than the telemetry's: its output, not its probabilities.
class Without : public Observer {
 public:
  explicit Without(absl::string_view tensor) : tensor_(tensor) {}
  bool Wants(absl::string_view tensor) const override { return tensor == tensor_; }
  bool changes_values() const override { return true; }
  void Observe(int, absl::string_view, const TensorView& view) override {
    std::fill_n(view.as<double>(), view.elements(), 0.0);
  }

 private:
  absl::string_view tensor_;
};

TEST(BigramBackcopyMetricsTest, RisksAndAblationsAreTheDefinitions) {
  auto engine = MakeEngine(Config("gated", 3), DType::kFloat64, kSequences, kT);
  const BigramBackcopyMetrics metrics = Evaluate(*engine, 4);
  ExpectSameRisks(metrics.risks, NaiveRisks(*engine, nullptr));
  Without attention(observed::kAttentionOutput), feed_forward(observed::kFeedForwardOutput);
  ExpectSameRisks(*metrics.without_attention, NaiveRisks(*engine, &attention));
  ExpectSameRisks(*metrics.without_feed_forward, NaiveRisks(*engine, &feed_forward));
  EXPECT_GT(std::abs(metrics.without_attention->backcopy - metrics.risks.backcopy), 1e-3);
  EXPECT_GT(std::abs(metrics.without_feed_forward->bigram - metrics.risks.bigram), 1e-3);
}

// 10 sequences in batches of 2 on one and on three ranks: the same bits.
TEST(BigramBackcopyMetricsTest, RanksDoNotMatter) {
  std::map<std::string, double> alone;
  for (int ranks : {1, 3}) {
    RunRanks(ranks, [&](Communicator& communicator) {
      auto engine = MakeEngine(Config("gated", 3), DType::kFloat32, 2, kT);
      auto source = Source();
      const auto metrics =
          EvaluateBigramBackcopy(*engine, *source, communicator, {.batch_size = 2});
      ASSERT_TRUE(metrics.ok()) << metrics.status();
      if (ranks == 1) {
        alone = AsMap(*metrics);
      } else {
        EXPECT_EQ(AsMap(*metrics), alone);
      }
    });
  }
}

TEST(BigramBackcopyMetricsTest, ModelsWithBiasesAreRefused) {
  RunConfig config = Config("vanilla");
  config.model.architecture = "opt";
  auto engine = MakeEngine(config, DType::kFloat32, 2, kT);
  SingleCommunicator alone;
  auto source = Source();
  const auto metrics = EvaluateBigramBackcopy(*engine, *source, alone, {});
  EXPECT_EQ(metrics.status().message(), "the metrics are those of decoders without biases: opt");
}

TEST(BigramBackcopyMetricsTest, GridIsDenseThenSparse) {
  TelemetryConfig config;
  EXPECT_FALSE(DueAt(config, 0, 100).record);
  config.bigram_backcopy_every_early = 20;
  config.bigram_backcopy_early_steps = 1000;
  config.bigram_backcopy_every = 1000;
  std::vector<int64_t> records, ablations;
  for (int64_t step = 0; step <= 2500; ++step) {
    const BigramBackcopyDue due = DueAt(config, step, 2500);
    if (due.record) records.push_back(step);
    if (due.ablations) ablations.push_back(step);
  }
  EXPECT_EQ(records.size(), 51u + 2u);
  EXPECT_EQ(records[1], 20);
  EXPECT_EQ(records[51], 2000);
  EXPECT_THAT(ablations, ::testing::ElementsAre(0, 1000, 2000, 2500));
}

// The headline model before its first step. Expected of its initial weights: LayerNorm's output has
// norm 16, a projection with weights U(±1/16) makes 16/√3 of it; attention is uniform; logits have
// variance 1/3, so the loss is ln V + 1/6. One draw: within a few per cent.
TEST(BigramBackcopyMetricsTest, HeadlineModelStartsWhereItsWeightsSay) {
  auto config = LoadRunConfig("configs/bigram_backcopy/vanilla.yaml", {});
  ASSERT_TRUE(config.ok()) << config.status();
  auto engine = MakeEngine(*config, DType::kFloat32, 8, 256, ArenaFill::kZero, /*train=*/false);
  auto source = Source(256, 8);
  SingleCommunicator alone;
  const auto metrics = EvaluateBigramBackcopy(*engine, *source, alone, {.ablations = false});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  EXPECT_FALSE(metrics->without_attention.has_value());
  const BigramBackcopyLayer& layer = metrics->layers.at(0);
  EXPECT_NEAR(layer.value_norm_start / (16 / std::sqrt(3.0)), 1, 0.06);
  EXPECT_NEAR(layer.output_value_norm_start / (16 / 3.0), 1, 0.08);
  double uniform = 0;
  for (int i = 1; i < 256; ++i) uniform += 1.0 / (i + 1) / 255;
  EXPECT_NEAR(layer.attention_to_start / uniform, 1, 0.2);  // e^±0.3 of one logit
  EXPECT_NEAR(layer.value_ratio, 1, 0.06);
  EXPECT_NEAR(metrics->risks.bigram_cross_entropy_guo / (std::log(65) + 1 / 6.0), 1, 0.04);
  EXPECT_NEAR(layer.residual_norm_start, 24.3, 2);
  EXPECT_LT(std::abs(layer.delta_logit_type), 0.4);
  EXPECT_TRUE(std::isnan(layer.gate_start) && std::isnan(layer.gated_value_norm_start));
}

}  // namespace
}  // namespace sluice
