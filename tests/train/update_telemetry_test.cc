// Records of activations, norms, alarms and attention maps of whole runs: they repeat, survive a
// resume, do not depend on ranks, and change nothing that is trained.
#include "train/update_telemetry.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/strings/match.h"
#include "checkpoint/diff.h"
#include "core/error.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "train/trainer.h"
#include "training_run.h"

namespace sluice {
namespace {

using Json = nlohmann::json;
using testing::TrainingRun;

class UpdateTelemetryTest : public TrainingRun {
 protected:
  RunConfig Watched(int64_t steps, const std::string& precision = "fp32") const {
    RunConfig config = Config(steps, precision);
    config.telemetry.statistics_sequences = 5;
    config.telemetry.activation_statistics_every = 2;
    config.telemetry.norm_statistics_every = 3;
    config.telemetry.attention_maps_every = 4;
    config.telemetry.attention_map_sequences = 2;
    config.checkpoint.every = 3;
    return config;
  }

  std::string Read(const std::string& path) const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  // Lines of metrics.jsonl of these events, as they are.
  std::vector<std::string> Lines(const std::string& run,
                                 const std::vector<std::string>& events) const {
    std::ifstream in(Run(run) + "/metrics.jsonl");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) {
      for (const std::string& event : events) {
        if (absl::StartsWith(line, "{\"event\":\"" + event + "\"")) lines.push_back(line);
      }
    }
    return lines;
  }
  std::vector<Json> Records(const std::string& run, const std::string& event) const {
    std::vector<Json> records;
    for (const std::string& line : Lines(run, {event})) records.push_back(Json::parse(line));
    return records;
  }
  std::vector<int64_t> Steps(const std::string& run, const std::string& event) const {
    std::vector<int64_t> steps;
    for (const Json& record : Records(run, event)) steps.push_back(record["step"]);
    return steps;
  }

  std::map<std::string, std::string> Maps(const std::string& run) const {
    std::map<std::string, std::string> maps;
    for (const auto& entry : std::filesystem::directory_iterator(Run(run) + "/attention_maps")) {
      maps[entry.path().filename().string()] = Read(entry.path().string());
    }
    return maps;
  }
};

// A sequence's maps are the same whether it is chosen or among the first ones; shorter ones are a
// corner of longer ones.
TEST_F(UpdateTelemetryTest, MapsOfChosenSequences) {
  RunConfig config = Watched(2);
  config.telemetry.attention_maps_every = 2;
  config.telemetry.attention_map_sequences = 6;
  ASSERT_TRUE(Train(config, "first", 1).ok());
  config.telemetry.attention_map_sequences = 1;
  config.telemetry.attention_map_indices = {1, 5};
  config.telemetry.attention_map_tokens = 4;
  ASSERT_TRUE(Train(config, "chosen", 1).ok());
  const Json first = Json::parse(Maps("first").at("step_00000002.json"))["sequences"];
  const Json chosen = Json::parse(Maps("chosen").at("step_00000002.json"))["sequences"];
  ASSERT_EQ(first.size(), 6u);
  ASSERT_EQ(chosen.size(), 2u);
  for (const Json& maps : chosen) {
    const Json& all = first.at(maps["index"].get<size_t>());
    EXPECT_EQ(all["index"], maps["index"]);
    ASSERT_EQ(maps["tokens"].size(), 4u);
    const Json &map = maps["layers"][1][0], &whole = all["layers"][1][0];
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(maps["tokens"][i], all["tokens"][i]);
      for (size_t j = 0; j < 4; ++j) EXPECT_EQ(map[i][j], whole[i][j]);
    }
  }
  EXPECT_EQ(chosen[0]["index"], 1);
  EXPECT_EQ(chosen[1]["index"], 5);
  EXPECT_NE(chosen[0]["tokens"], chosen[1]["tokens"]);
  config.telemetry.attention_map_indices = {1, 1000000};
  const absl::Status status = Train(config, "missing", 1);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("no such sequence: telemetry.attention_map_indices: 1000000"));
}

TEST_F(UpdateTelemetryTest, EachAtItsInterval) {
  ASSERT_TRUE(Train(Watched(8), "run", 1).ok());
  EXPECT_EQ(Steps("run", "activations"), (std::vector<int64_t>{2, 4, 6, 8}));
  EXPECT_EQ(Steps("run", "norms"), (std::vector<int64_t>{3, 6}));
  const auto maps = Maps("run");
  ASSERT_EQ(maps.size(), 3u);
  EXPECT_TRUE(maps.contains("step_00000000.json") && maps.contains("step_00000004.json") &&
              maps.contains("step_00000008.json"));
  const Json json = Json::parse(maps.at("step_00000004.json"));
  EXPECT_EQ(json["step"], 4);
  ASSERT_EQ(json["sequences"].size(), 2u);
  const Json& sequence = json["sequences"][1];
  EXPECT_EQ(sequence["tokens"].size(), 16u);
  ASSERT_EQ(sequence["layers"].size(), 2u);
  ASSERT_EQ(sequence["layers"][1].size(), 2u);
  ASSERT_EQ(sequence["layers"][1][0].size(), 16u);
  double sum = 0;
  for (const double p : sequence["layers"][1][0][3]) sum += p;
  EXPECT_NEAR(sum, 1, 16 * 0.5e-4);
  // Of the same tokens each time, by a model that has changed.
  const Json later = Json::parse(maps.at("step_00000008.json"));
  EXPECT_EQ(later["sequences"][0]["tokens"], json["sequences"][0]["tokens"]);
  EXPECT_NE(later["sequences"], json["sequences"]);
}

TEST_F(UpdateTelemetryTest, NormsAddUpToTheGradientsNorm) {
  for (const char* precision : {"fp32", "bf16"}) {
    ASSERT_TRUE(Train(Watched(6, precision), precision, 1).ok());
    std::map<int64_t, double> gradient_norms;
    for (const Json& record : Records(precision, "train")) {
      gradient_norms[record["step"]] = record["gradient_norm"];
    }
    const std::vector<Json> norms = Records(precision, "norms");
    ASSERT_EQ(norms.size(), 2u);
    for (const Json& record : norms) {
      double gradient = 0, update = 0, weight = 0;
      for (const auto& [name, value] : record.items()) {
        if (!value.is_number_float()) continue;
        const double square = std::pow(value.get<double>(), 2);
        if (absl::StartsWith(name, "gradient.")) gradient += square;
        if (absl::StartsWith(name, "update.")) update += square;
        if (absl::StartsWith(name, "weight.")) weight += square;
      }
      const double whole = gradient_norms.at(record["step"]);
      EXPECT_NEAR(std::sqrt(gradient), whole, 1e-12 * whole);  // before clipping
      EXPECT_GT(update, 0);
      EXPECT_LT(update, 1e-2 * weight);
    }
    EXPECT_TRUE(norms[0].contains("update.bert.encoder.layer.1.attention.self.gate.weight"));
  }
}

TEST_F(UpdateTelemetryTest, ActivationsAreOfEveryTensorOfTheStream) {
  ASSERT_TRUE(Train(Watched(2), "run", 1).ok());
  const std::vector<Json> records = Records("run", "activations");
  ASSERT_EQ(records.size(), 1u);
  int tensors = 0;
  for (const auto& [name, value] : records[0].items()) {
    if (!absl::EndsWith(name, ".max_abs")) continue;
    ++tensors;
    const std::string place = name.substr(0, name.size() - 8);
    EXPECT_GT(value.get<double>(), 0) << place;
    for (const char* of : {".kurtosis_per_sequence", ".kurtosis_per_token"}) {
      EXPECT_GT(records[0].at(place + of).get<double>(), 0) << place;
    }
    EXPECT_GE(records[0].at(place + ".top_channel_share").get<double>(), 1.0 / 32) << place;
  }
  EXPECT_EQ(tensors, 2 + 2 * 6);
  EXPECT_TRUE(records[0].contains("embedding.norm.max_abs"));
  EXPECT_TRUE(records[0].contains("layer_1.feed_forward.residual_sum.max_abs"));
}

TEST_F(UpdateTelemetryTest, WatchingChangesNothingThatIsTrained) {
  for (const char* precision : {"fp32", "bf16"}) {
    const std::string name = precision;
    RunConfig config = Watched(6, precision), blind = config;
    blind.telemetry.activation_statistics_every = 0;
    blind.telemetry.norm_statistics_every = 0;
    blind.telemetry.attention_maps_every = 0;
    config.telemetry.activation_statistics_every = 1;
    config.telemetry.norm_statistics_every = 1;
    config.telemetry.attention_maps_every = 1;
    ASSERT_TRUE(Train(config, name + "watched", 2).ok());
    ASSERT_TRUE(Train(blind, name + "blind", 2).ok());
    const auto diff =
        DiffCheckpoints(Checkpoint(name + "watched", 6), Checkpoint(name + "blind", 6));
    ASSERT_TRUE(diff.ok()) << diff.status();
    EXPECT_TRUE(diff->equal()) << DiffText(*diff);
    EXPECT_EQ(Lines(name + "watched", {"evaluation"}), Lines(name + "blind", {"evaluation"}));
    EXPECT_TRUE(Lines(name + "blind", {"activations", "norms"}).empty());
    EXPECT_FALSE(std::filesystem::exists(Run(name + "blind") + "/attention_maps"));
  }
}

// Also where a run went on beyond its checkpoint before it was killed.
TEST_F(UpdateTelemetryTest, AResumedRunRecordsWhatTheStraightOneDid) {
  const std::vector<std::string> events = {"activations", "norms", "alarm", "alarm_over"};
  for (const int ranks : {1, 2}) {
    const std::string name = std::to_string(ranks);
    RunConfig config = Watched(9);
    ASSERT_TRUE(Train(config, "straight" + name, ranks).ok());
    // Thresholds that the run crosses, between its records.
    std::vector<double> sizes;
    for (const Json& record : Records("straight" + name, "activations")) {
      double largest = 0;
      for (const auto& [field, value] : record.items()) {
        if (absl::EndsWith(field, ".max_abs")) largest = std::max(largest, value.get<double>());
      }
      sizes.push_back(largest);
    }
    config.telemetry.alarms.max_abs = *std::min_element(sizes.begin(), sizes.end()) * 0.99;
    ASSERT_TRUE(Train(config, "straight" + name, ranks, "none").ok());
    EXPECT_EQ(Records("straight" + name, "alarm").size(), 1u);  // not at every look
    RunConfig half = config;
    half.training.steps = 6;
    ASSERT_TRUE(Train(half, "resumed" + name, ranks).ok());
    // As if it had been killed at 6, with a checkpoint of 3.
    std::filesystem::remove_all(Checkpoint("resumed" + name, 6));
    ASSERT_TRUE(Train(config, "resumed" + name, ranks).ok());
    EXPECT_EQ(Lines("resumed" + name, events), Lines("straight" + name, events));
    EXPECT_EQ(Maps("resumed" + name), Maps("straight" + name));
    EXPECT_EQ(Maps("resumed" + name).size(), 3u);
  }
}

TEST_F(UpdateTelemetryTest, ARunThatBeginsAnewRemovesLaterMaps) {
  ASSERT_TRUE(Train(Watched(8), "run", 1).ok());
  std::ofstream(Run("run") + "/attention_maps/step_00000004.json.part") << "{";
  std::ofstream(Run("run") + "/attention_maps/notes.txt") << "mine";
  ASSERT_TRUE(Train(Watched(2), "run", 1, "none").ok());
  const auto maps = Maps("run");
  EXPECT_EQ(maps.size(), 2u);
  EXPECT_TRUE(maps.contains("step_00000000.json") && maps.contains("notes.txt"));
}

// The first record is of the initial weights: oneDNN may sum a product of fewer rows in another
// order, by 76 u of a value (tests/model/golden_model.h), eight times as much of a kurtosis, which
// is a fourth moment over the square of a second. Later ones are of weights whose gradients were
// added up in another order.
TEST_F(UpdateTelemetryTest, RanksAndMicroBatchesDoNotMatter) {
  RunConfig config = Watched(4);
  config.telemetry.activation_statistics_every = 1;
  config.telemetry.norm_statistics_every = 2;
  ASSERT_TRUE(Train(config, "one", 1).ok());
  for (const auto& [ranks, parts] : {std::pair{2, 1}, {3, 2}}) {
    RunConfig split = config;
    split.training.gradient_accumulation_steps = parts;
    const std::string name = absl::StrCat(ranks, "x", parts);
    ASSERT_TRUE(Train(split, name, ranks).ok());
    for (const char* event : {"activations", "norms"}) {
      const std::vector<Json> a = Records("one", event), b = Records(name, event);
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(a[i].size(), b[i].size());
        for (const auto& [field, value] : a[i].items()) {
          if (!value.is_number_float()) continue;
          const double expected = value, got = b[i].at(field);
          if (i == 0 && std::string(event) == "activations") {
            EXPECT_NEAR(got, expected, 8 * 76 * testing::UnitRoundoff<float>() * std::abs(expected))
                << name << " " << field;
          } else {
            // 4 updates of 3e-3 · sign(g) where g is its own roundoff; activations follow.
            EXPECT_NEAR(got, expected, 2e-2 * std::abs(expected) + 1e-6) << name << " " << field;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice
