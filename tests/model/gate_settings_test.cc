// What the settings of gates must be equal to: each against another way to say the same.
#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "gmock/gmock.h"
#include "model/operation_count.h"
#include "small_model.h"
#include "support/compute_threads.h"

namespace sluice {
namespace {

using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;

RunConfig With(const GateConfig& gate) {
  RunConfig config = SmallBertConfig("gated");
  config.model.hidden_dropout_prob = config.model.attention_probs_dropout_prob = 0;
  config.model.attention.gate = gate;
  return config;
}

RunConfig Vanilla() {
  RunConfig config = With({});
  config.model.attention.variant = "vanilla";
  return config;
}

// A model whose parameters with `part` in their names are changed before it is looked at.
struct Change {
  std::string part;
  float factor = 1, value = 0;  // x becomes factor · x + value
};

double LossOf(const RunConfig& config, const std::vector<Change>& changes = {}) {
  const testing::ScopedComputeThreads one(1);
  auto engine = MakeEngine(config, DType::kFloat32, 3, 7, ArenaFill::kPoison, /*train=*/false);
  for (size_t p = 0; p < engine->parameters().parameters().size(); ++p) {
    const Parameter& parameter = engine->parameters().parameters()[p];
    float* values = engine->parameters().Master(static_cast<int>(p)).as<float>();
    for (const Change& change : changes) {
      if (!absl::StrContains(parameter.name, change.part)) continue;
      for (int64_t i = 0; i < parameter.elements(); ++i) {
        values[i] = change.factor * values[i] + change.value;
      }
    }
  }
  CHECK_OK(engine->WeightsLoaded());
  ModelLosses losses;
  EXPECT_TRUE(engine->Evaluate(RandomBatch({}, 5), losses).ok());
  return losses.language_model.loss;
}

std::vector<std::string> GateParameters(const RunConfig& config) {
  std::vector<std::string> names;
  const auto engine = MakeEngine(config, DType::kFloat32, 1, 4);
  for (const Parameter& parameter : engine->parameters().parameters()) {
    if (!absl::StrContains(parameter.name, ".gate.")) continue;
    names.push_back(absl::StrCat(parameter.name.substr(parameter.name.find("layer.")), " ",
                                 parameter.shape.ToString()));
  }
  std::ranges::sort(names);
  return names;
}

TEST(GateSettingsTest, ParametersOfEveryPredictor) {
  EXPECT_THAT(GateParameters(With({.predictor = "free_scalar"})),
              ::testing::ElementsAre("layer.0.attention.self.gate.logit (3)",
                                     "layer.1.attention.self.gate.logit (3)"));
  EXPECT_THAT(GateParameters(With({.predictor = "mlp", .predictor_hidden_size = 5, .layers = {1}})),
              ::testing::ElementsAre("layer.1.attention.self.gate.bias (3)",
                                     "layer.1.attention.self.gate.hidden.bias (15)",
                                     "layer.1.attention.self.gate.hidden.weight (15, 8)",
                                     "layer.1.attention.self.gate.weight (3, 5)"));
  EXPECT_THAT(GateParameters(With({.layers = {0}})),
              ::testing::ElementsAre("layer.0.attention.self.gate.weight (3, 24)"));
  // The counts of arXiv 2306.12929's code for 12 heads of 64: 780, 12,684 and 9,228 a layer.
  RunConfig base = With({.bias = true, .per_head_slice = true});
  base.model.hidden_size = 768;
  base.model.num_attention_heads = 12;
  base.model.num_hidden_layers = 1;
  const auto count = [&](const GateConfig& gate) {
    base.model.attention.gate = gate;
    int64_t elements = 0;
    const auto engine = MakeEngine(base, DType::kFloat32, 1, 4);
    for (const Parameter& parameter : engine->parameters().parameters()) {
      if (absl::StrContains(parameter.name, ".gate.")) elements += parameter.elements();
    }
    return elements;
  };
  EXPECT_EQ(count({.bias = true, .per_head_slice = true}), 780);
  EXPECT_EQ(count({.predictor = "mlp"}), 12'684);
  EXPECT_EQ(count({.predictor = "mlp", .predictor_hidden_size = 64}), 50'700);
  EXPECT_EQ(count({.bias = true}), 9'228);
  EXPECT_EQ(count({.predictor = "free_scalar"}), 12);
}

// A temperature divides the logit: with weights and bias as much larger it is gone, to the bit
// where it is a power of two.
TEST(GateSettingsTest, ATemperatureDividesLogits) {
  for (const std::string granularity : {"head", "channel"}) {
    const GateConfig plain = {.bias = true, .granularity = granularity};
    GateConfig warm = plain;
    warm.temperature = 2;
    EXPECT_EQ(LossOf(With(warm), {{.part = ".gate.", .factor = 2}}), LossOf(With(plain)));
    EXPECT_NE(LossOf(With(warm)), LossOf(With(plain)));
  }
}

TEST(GateSettingsTest, GatesStartWhereTheyAreTold) {
  for (const char* predictor : {"linear", "mlp", "free_scalar"}) {
    for (const double temperature : {0.5, 1.0, 2.0}) {
      GateConfig gate = {.initial_probability = 0.25, .predictor = predictor};
      gate.bias = gate.predictor == "linear";
      gate.temperature = temperature;
      const auto engine = MakeEngine(With(gate), DType::kFloat32, 1, 4);
      int seen = 0;
      for (size_t p = 0; p < engine->parameters().parameters().size(); ++p) {
        const std::string& name = engine->parameters().parameters()[p].name;
        if (!name.ends_with(".gate.bias") && !name.ends_with(".gate.logit")) continue;
        ++seen;
        EXPECT_NEAR(*engine->parameters().Master(static_cast<int>(p)).as<float>(),
                    -1.0986123 * temperature, 1e-6);
      }
      EXPECT_EQ(seen, 2) << predictor;
    }
  }
}

// Without weights a perceptron and a linear gate are what their biases say: a free scalar.
TEST(GateSettingsTest, WithoutWeightsEveryPredictorIsAFreeScalar) {
  for (const std::string site : {"query", "key"}) {
    const double free = LossOf(With({.site = site, .predictor = "free_scalar"}),
                               {{.part = ".gate.logit", .value = 0.75}});
    EXPECT_EQ(LossOf(With({.site = site, .bias = true}),
                     {{.part = ".gate.", .factor = 0}, {.part = ".gate.bias", .value = 0.75}}),
              free);
    EXPECT_EQ(LossOf(With({.site = site, .predictor = "mlp"}),
                     {{.part = ".gate.weight", .factor = 0},
                      {.part = ".gate.bias", .factor = 0, .value = 0.75}}),
              free);
    EXPECT_NE(LossOf(With({.site = site, .predictor = "free_scalar"})), free);
  }
}

// Where every hidden unit is on, relu is none, and a perceptron of one unit is a linear gate on the
// head's slice.
TEST(GateSettingsTest, APerceptronOfOneOpenUnitIsLinear) {
  constexpr float kOpen = 64;  // far above every product
  const double linear = LossOf(With({.bias = true, .per_head_slice = true}),
                               {{.part = ".gate.weight", .factor = 0, .value = 0.125},
                                {.part = ".gate.bias", .factor = 0, .value = 0.5}});
  const double perceptron = LossOf(With({.predictor = "mlp", .predictor_hidden_size = 1}),
                                   {{.part = ".gate.hidden.weight", .factor = 0, .value = 0.125},
                                    {.part = ".gate.hidden.bias", .factor = 0, .value = kOpen},
                                    {.part = ".gate.weight", .factor = 0, .value = 1},
                                    {.part = ".gate.bias", .factor = 0, .value = 0.5f - kOpen}});
  // Sums near 64 round to 2^-18; the loss sums some nine targets, whose slopes are of order one.
  EXPECT_NEAR(perceptron, linear, 1e-3);
  EXPECT_NE(LossOf(With({.bias = true, .per_head_slice = true})), linear);
  const double closed = LossOf(With({.predictor = "mlp", .predictor_hidden_size = 1}),
                               {{.part = ".gate.hidden.weight", .factor = 0, .value = 0.125},
                                {.part = ".gate.hidden.bias", .factor = 0, .value = -kOpen},
                                {.part = ".gate.weight", .factor = 0, .value = 1},
                                {.part = ".gate.bias", .factor = 0, .value = 0.5}});
  EXPECT_GT(std::abs(closed - linear), 1e-2);
}

TEST(GateSettingsTest, LayersThatAreNotNamedAreVanilla) {
  EXPECT_EQ(LossOf(With({.layers = {0, 1}})), LossOf(With({})));
  const std::vector<Change> open = {{.part = ".gate.", .factor = 0, .value = 100}};
  const GateConfig gate = {.bias = true};
  GateConfig first = gate, last = gate;
  first.layers = {0};
  last.layers = {1};
  EXPECT_NE(LossOf(With(first)), LossOf(With(gate)));
  EXPECT_NE(LossOf(With(first)), LossOf(With(last)));
  EXPECT_NE(LossOf(With(first)), LossOf(Vanilla()));
  // The gates of one layer forced open: what is left are those of the other.
  const std::vector<Change> first_open = {
      {.part = "layer.0.attention.self.gate.weight", .factor = 0},
      {.part = "layer.0.attention.self.gate.bias", .factor = 0, .value = 100}};
  EXPECT_EQ(LossOf(With(gate), first_open), LossOf(With(last)));
  EXPECT_EQ(LossOf(With(first), first_open), LossOf(Vanilla()));
}

// Only layers with gates show them.
TEST(GateSettingsTest, LayersWithoutGatesShowNone) {
  struct Layers : Observer {
    bool Wants(absl::string_view tensor) const override { return tensor == observed::kGate; }
    void Observe(int layer, absl::string_view, const TensorView&) override {
      seen.push_back(layer);
    }
    std::vector<int> seen;
  } layers;
  for (const bool train : {false, true}) {
    auto engine =
        MakeEngine(With({.layers = {1}}), DType::kFloat32, 3, 7, ArenaFill::kPoison, train);
    ModelLosses losses;
    ASSERT_TRUE(engine->Evaluate(RandomBatch({}, 5), losses, &layers).ok());
  }
  EXPECT_THAT(layers.seen, ::testing::ElementsAre(1, 1));
}

// Multiply and add of the gates' products, a token: two layers of 24 features and 3 heads.
TEST(GateSettingsTest, OperationsOfEveryPredictor) {
  const auto count = [](const GateConfig& gate) {
    return CountOperations(With(gate).model, 7, 1).gates;
  };
  EXPECT_EQ(count({}), 2 * 2 * 24 * 3);
  EXPECT_EQ(count({.per_head_slice = true}), 2 * 2 * 24);
  EXPECT_EQ(count({.granularity = "channel"}), 2 * 2 * 24 * 24);
  EXPECT_EQ(count({.layers = {1}}), 2 * 24 * 3);
  EXPECT_EQ(count({.predictor = "mlp", .predictor_hidden_size = 5}), 2 * 2 * 5 * (24 + 3));
  EXPECT_EQ(count({.predictor = "free_scalar"}), 0);
  EXPECT_EQ(CountOperations(Vanilla().model, 7, 1).gates, 0);
}

// With weights of zero a scaled gate is 1, and the model what it is without gates.
TEST(GateSettingsTest, OneAtStartIsVanilla) {
  const double vanilla = LossOf(Vanilla());
  for (const char* predictor : {"linear", "mlp", "free_scalar"}) {
    for (const char* site : {"query", "key"}) {
      for (const double probability : {0.25, 0.5, 0.9}) {
        GateConfig gate = {.site = site, .initial_probability = probability};
        gate.predictor = predictor;
        gate.bias = gate.predictor == "linear";
        const std::vector<Change> zero = {{.part = ".gate.weight", .factor = 0}};
        const double unscaled = LossOf(With(gate), zero);
        gate.scale = "one_at_start";
        // A gate of 1 to three roundings; as in the test above the loss has slopes of order one.
        EXPECT_NEAR(LossOf(With(gate), zero), vanilla, 1e-4) << predictor << " " << probability;
        EXPECT_GT(std::abs(unscaled - vanilla), 1e-2);
      }
    }
  }
  // Without a bias gates start at one half.
  EXPECT_EQ(LossOf(With({.scale = "one_at_start"}), {{.part = ".gate.", .factor = 0}}), vanilla);
}

}  // namespace
}  // namespace sluice
