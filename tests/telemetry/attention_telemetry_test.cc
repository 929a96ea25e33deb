// Attention statistics against their definitions (naive_attention_statistics.h).
#include "telemetry/attention_telemetry.h"

#include <cmath>
#include <map>
#include <optional>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "model/small_model.h"
#include "support/compare.h"
#include "telemetry/naive_attention_statistics.h"

namespace sluice {
namespace {

using testing::kB;
using testing::kSequences;
using testing::kT;
using testing::MakeEngine;
using testing::Naive;
using testing::RandomBatch;
using testing::Recorder;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

TokenizerIdentity Tokenizer() {
  TokenizerIdentity tokenizer;
  tokenizer.vocabulary_size = 53;
  tokenizer.special = {.pad = 0, .unk = 1, .cls = 2, .sep = 3, .mask = 4};
  return tokenizer;
}

struct Case {
  RunConfig config;
  bool lengths = false, documents = false;
};

std::vector<RunConfig> Variants(const std::string& architecture) {
  const auto make = [&](const char* variant) {
    return architecture == "bert" ? SmallBertConfig(variant)
                                  : SmallDecoderConfig(architecture, variant);
  };
  std::vector<RunConfig> configs = {make("vanilla"),         make("softmax_plus_one"),
                                    make("clipped_softmax"), make("learnable_sink"),
                                    make("learnable_sink"),  make("relu")};
  configs[2].model.attention.clipped_softmax = {.gamma = -0.1, .zeta = 1.05};
  configs[4].model.attention.learnable_sink = "token";
  for (const char* source : {"value", "input"}) {
    for (const char* site : {"query", "key"}) {
      configs.push_back(make("gated"));
      configs.back().model.attention.gate = {.source = source, .site = site};
    }
  }
  configs.push_back(configs.back());
  configs.back().model.attention.gate.granularity = "channel";
  for (const size_t n : {size_t{0}, size_t{4}, size_t{5}}) {
    configs.push_back(configs[n]);
    configs.back().model.attention.register_tokens = 2;
  }
  return configs;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* architecture : {"bert", "opt", "bigram_backcopy"}) {
    for (const RunConfig& config : Variants(architecture)) {
      cases.push_back({config});
      if (config.model.architecture == "bigram_backcopy") continue;
      cases.push_back({config, /*lengths=*/true, /*documents=*/false});
      cases.push_back({config, /*lengths=*/false, /*documents=*/true});
    }
  }
  for (Case& c : cases) {
    c.config.telemetry.statistics_sequences = kSequences;
    c.config.training.global_batch_size = kB;
  }
  return cases;
}

Batch MakeBatch(const Case& c, uint64_t seed) {
  const bool causal = c.config.model.architecture != "bert";
  return RandomBatch({.B = kB,
                      .T = kT,
                      .vocab_size = 12,  // so that special tokens are frequent
                      .lengths = c.lengths,
                      .documents = c.documents,
                      .causal = causal},
                     seed);
}

std::string Describe(const Case& c) {
  const AttentionConfig& attention = c.config.model.attention;
  return absl::StrCat(c.config.model.architecture, " ", attention.variant, " ",
                      attention.learnable_sink, " ", attention.gate.source, " ",
                      attention.gate.site, " ", attention.gate.granularity, " registers ",
                      attention.register_tokens, c.lengths ? " lengths" : "",
                      c.documents ? " documents" : "");
}

// Of a pass over `batch`; a tensor of the reference's is looked at in double, one in fp32 is not.
AttentionStatistics Look(const Case& c, Engine& engine, const Batch& batch) {
  AttentionTelemetry attention(c.config, Tokenizer());
  attention.BeginUpdate();
  EXPECT_TRUE(attention.BeginBatch(batch, 0));
  ModelLosses losses;
  EXPECT_TRUE(engine.Evaluate(batch, losses, &attention).ok());
  SingleCommunicator alone;
  EXPECT_TRUE(attention.EndUpdate(alone).ok());
  return attention.of_update();
}

TEST(AttentionTelemetryTest, EveryVariantAndMaskHasTheDefinitionsNumbers) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(Describe(c));
    auto engine = MakeEngine(c.config, DType::kFloat64, kB, kT);
    const Batch batch = MakeBatch(c, 3);
    Recorder seen;
    ModelLosses losses;
    ASSERT_TRUE(engine->Evaluate(batch, losses, &seen).ok());
    const AttentionStatistics found = Look(c, *engine, batch);
    EXPECT_EQ(found.sequences, kSequences);
    for (int layer = 0; layer < 2; ++layer) {
      for (int64_t h = 0; h < 3; ++h) {
        const auto expected = Naive{*engine, batch, seen, layer, h}.Statistics();
        ASSERT_EQ(expected.size(), found.names.size());
        for (size_t i = 0; i < found.names.size(); ++i) {
          ASSERT_TRUE(expected.contains(found.names[i])) << found.names[i];
          const double value = expected.at(found.names[i]);
          // Sums of some hundred doubles of size 1 to 100.
          EXPECT_NEAR(found.value(i, layer, h), value, 1e-11 * (1 + std::abs(value)))
              << found.names[i] << " layer " << layer << " head " << h;
        }
      }
    }
  }
}

// Gates at the key site of one layer: the other has no gated values.
TEST(AttentionTelemetryTest, ALayerWithoutGatesHasNoGatedValues) {
  Case c = {SmallDecoderConfig("opt", "gated")};
  c.config.model.attention.gate.site = "key";
  c.config.model.attention.gate.layers = {1};
  c.config.telemetry.statistics_sequences = kSequences;
  c.config.training.global_batch_size = kB;
  auto engine = MakeEngine(c.config, DType::kFloat64, kB, kT);
  const AttentionStatistics found = Look(c, *engine, MakeBatch(c, 5));
  for (size_t i = 0; i < found.names.size(); ++i) {
    const bool of_gates = found.names[i] == "gated_value_norm_ratio";
    for (int64_t h = 0; h < found.heads; ++h) {
      EXPECT_EQ(std::isnan(found.value(i, 0, h)), of_gates) << found.names[i];
      EXPECT_FALSE(std::isnan(found.value(i, 1, h))) << found.names[i];
    }
  }
  EXPECT_EQ(found.names.back(), "gated_value_norm_ratio");
}

// The same tensors in fp32: scores are sums of 8 products in fp32.
TEST(AttentionTelemetryTest, InSinglePrecisionToo) {
  for (const char* architecture : {"bert", "opt"}) {
    const Case c = {Variants(architecture)[4]};
    SCOPED_TRACE(Describe(c));
    auto wide = MakeEngine(c.config, DType::kFloat64, kB, kT);
    auto narrow = MakeEngine(c.config, DType::kFloat32, kB, kT);
    testing::CopyWeights(*narrow, *wide);
    const Batch batch = MakeBatch(c, 4);
    const AttentionStatistics a = Look(c, *wide, batch), b = Look(c, *narrow, batch);
    ASSERT_EQ(a.names, b.names);
    testing::ExpectClose("statistics", b.values, a.values,
                         {.absolute = 1e-6,
                          .relative = 1e-5,
                          .derivation = "some hundred roundings of a forward pass in fp32"});
  }
}

// By hand: one head of size 1, queries of 1, keys (ln 3, 0, 0), values (2, -3, 5).
struct ByHand {
  std::vector<float> qkv = {1, std::log(3.0f), 2, 1, 0, -3, 1, 0, 5};
  Batch batch;
  RunConfig config;

  ByHand() {
    batch.B = 1;
    batch.T = 3;
    batch.tokens = {7, 3, 8};  // the second is special
    config.model.num_hidden_layers = 1;
    config.model.num_attention_heads = 1;
  }
  std::map<std::string, double> Look(bool causal) {
    AttentionTelemetry attention(config, Tokenizer());
    attention.BeginUpdate();
    EXPECT_TRUE(attention.BeginBatch(batch, 0));
    const ops::AttentionVariant variant;
    EXPECT_TRUE(attention
                    .ObserveAttention(0, {.B = 1,
                                          .T = 3,
                                          .H = 1,
                                          .D = 1,
                                          .qkv = TensorView::Of(qkv.data(), Shape{3, 3}),
                                          .gate = {},
                                          .sink_logit = {},
                                          .sink_key = {},
                                          .sink_value = {},
                                          .variant = variant,
                                          .mask = {.causal = causal},
                                          .context = {}})
                    .ok());
    SingleCommunicator alone;
    EXPECT_TRUE(attention.EndUpdate(alone).ok());
    std::map<std::string, double> statistics;
    const AttentionStatistics found = attention.of_update();
    for (size_t i = 0; i < found.names.size(); ++i) statistics[found.names[i]] = found.values[i];
    return statistics;
  }
};

TEST(AttentionTelemetryTest, GoldenNumbersOfCausalAttention) {
  const auto found = ByHand().Look(/*causal=*/true);
  // Query 1 gives 3/4 and 1/4, query 2 gives 3/5, 1/5 and 1/5; query 0 sees itself alone.
  EXPECT_NEAR(found.at("mass_on_first"), (0.75 + 0.6) / 2, 1e-7);
  EXPECT_NEAR(found.at("mass_on_strongest"), (0.75 + 0.6) / 2, 1e-7);
  EXPECT_NEAR(found.at("mass_on_special"), (0.25 + 0.2) / 2, 1e-7);
  EXPECT_NEAR(found.at("delta_logit"), std::log(3), 1e-7);
  const double entropy_1 = -0.75 * std::log(0.75) - 0.25 * std::log(0.25);
  const double entropy_2 = -0.6 * std::log(0.6) - 0.4 * std::log(0.2);
  EXPECT_NEAR(found.at("entropy"), (entropy_1 + entropy_2) / 2, 1e-7);
  EXPECT_NEAR(found.at("value_norm_ratio"), 2 / 4.0, 1e-15);
}

TEST(AttentionTelemetryTest, GoldenNumbersOfFullAttention) {
  ByHand by_hand;
  by_hand.qkv[7] = 1;  // the third key: scores ln 3, 0, 1
  const auto found = by_hand.Look(/*causal=*/false);
  const double sum = 3 + 1 + std::exp(1);
  EXPECT_NEAR(found.at("mass_on_first"), 3 / sum, 1e-7);  // of three queries
  EXPECT_NEAR(found.at("mass_on_special"), 1 / sum, 1e-7);
  EXPECT_NEAR(found.at("delta_logit"), std::log(3) - 0.5, 1e-7);
}

// Which rows a look is of, and that it does not matter who has them.
TEST(AttentionTelemetryTest, IsTheSameForAnyNumberOfRanksAndMicroBatches) {
  constexpr int64_t kRows = 12, kH = 3, kD = 8, kWidth = 3 * kH * kD;
  RunConfig config = SmallDecoderConfig("opt");
  config.training.global_batch_size = kRows;
  config.telemetry.statistics_sequences = 7;
  config.model.num_hidden_layers = 1;
  const Batch all = RandomBatch({.B = kRows, .T = kT, .causal = true}, 6);
  auto qkv = testing::Cast<float>(testing::RandomValues(kRows * kT * kWidth, 8));
  const ops::AttentionVariant variant;
  const auto look = [&](int ranks, int64_t parts) {
    AttentionStatistics found;
    RunRanks(ranks, [&](Communicator& comm) {
      AttentionTelemetry attention(config, Tokenizer());
      attention.BeginUpdate();
      const int64_t count = kRows / ranks / parts;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = (comm.rank() * parts + part) * count;
        Batch batch;
        batch.B = count;
        batch.T = kT;
        batch.tokens.assign(all.tokens.begin() + first * kT,
                            all.tokens.begin() + (first + count) * kT);
        const bool looks = attention.BeginBatch(batch, first);
        EXPECT_EQ(looks, first < 7) << first;
        if (!looks) {
          EXPECT_EQ(attention.attention_look(), Observer::AttentionLook::kNone);
          continue;
        }
        const int64_t shown = attention.attention_sequences(count);
        EXPECT_EQ(shown, std::min<int64_t>(count, 7 - first));
        EXPECT_TRUE(
            attention
                .ObserveAttention(0, {.B = shown,
                                      .T = kT,
                                      .H = kH,
                                      .D = kD,
                                      .qkv = TensorView::Of(qkv.data() + first * kT * kWidth,
                                                            Shape{shown * kT, kWidth}),
                                      .gate = {},
                                      .sink_logit = {},
                                      .sink_key = {},
                                      .sink_value = {},
                                      .variant = variant,
                                      .mask = {.causal = true},
                                      .context = {}})
                .ok());
      }
      ASSERT_TRUE(attention.EndUpdate(comm).ok());
      if (comm.rank() == 0) found = attention.of_update();
    });
    return found;
  };
  const AttentionStatistics one = look(1, 1);
  EXPECT_EQ(one.sequences, 7);
  for (const auto& [ranks, parts] : {std::pair{1, 3}, {2, 1}, {2, 3}, {3, 1}, {4, 3}, {12, 1}}) {
    const AttentionStatistics other = look(ranks, parts);
    EXPECT_EQ(other.values, one.values) << ranks << " ranks " << parts << " parts";  // every bit
  }
}

TEST(AttentionTelemetryTest, StateGoesOnWhereItWas) {
  const Case c = Cases()[0];
  auto engine = MakeEngine(c.config, DType::kFloat32, kB, kT);
  SingleCommunicator alone;
  AttentionTelemetry straight(c.config, Tokenizer());
  std::optional<AttentionTelemetry> stopped(std::in_place, c.config, Tokenizer());
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Batch batch = MakeBatch(c, seed);
    for (AttentionTelemetry* attention : {&straight, &*stopped}) {
      attention->BeginUpdate();
      ASSERT_TRUE(attention->BeginBatch(batch, 0));
      ModelLosses losses;
      ASSERT_TRUE(engine->Evaluate(batch, losses, attention).ok());
      ASSERT_TRUE(attention->EndUpdate(alone).ok());
    }
    TelemetryState state;
    stopped->SaveState(state);
    stopped.emplace(c.config, Tokenizer());
    EXPECT_TRUE(stopped->since_checkpoint().empty());
    stopped->RestoreState(state);
  }
  const AttentionStatistics expected = straight.since_checkpoint();
  EXPECT_EQ(expected.looks, 4);
  EXPECT_EQ(stopped->since_checkpoint().looks, 4);
  EXPECT_EQ(stopped->since_checkpoint().values, expected.values);
  EXPECT_NE(straight.of_update().values, expected.values);
  straight.Reset();
  EXPECT_TRUE(straight.since_checkpoint().empty());
  // Of a model with other layers: begins anew.
  RunConfig other = c.config;
  other.model.num_hidden_layers = 3;
  AttentionTelemetry another(other, Tokenizer());
  TelemetryState state;
  stopped->SaveState(state);
  another.RestoreState(state);
  EXPECT_TRUE(another.since_checkpoint().empty());
}

}  // namespace
}  // namespace sluice
