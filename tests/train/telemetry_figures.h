// What telemetry says of a model, as figures that can be compared with those of another device.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"
#include "train/attention_map_evaluation.h"
#include "train/bigram_backcopy_evaluation.h"
#include "train/outlier_evaluation.h"

namespace sluice::testing {

// By record and statistic: of all layers, heads, tensors or parameters together, in their order.
using Figures = std::map<std::string, std::vector<double>>;

// "attention entropy" of layer_1.entropy, "norms gradient" of gradient.PARAMETER.
inline std::string StatisticOf(const std::string& event, const std::string& name) {
  return event + " " +
         (event == "norms" ? name.substr(0, name.find('.')) : name.substr(name.rfind('.') + 1));
}

inline void AddValue(const nlohmann::json& value, std::vector<double>& figures) {
  if (value.is_number()) figures.push_back(value);
  if (!value.is_array()) return;  // "nan": a layer that has no such thing
  for (const nlohmann::json& one : value) AddValue(one, figures);
}

// Of all records of a run but event `train`, which has times.
inline void AddRecords(const std::string& run, Figures& figures) {
  std::ifstream file(run + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json record = nlohmann::json::parse(line);
    const std::string event = record.at("event");
    if (event == "train") continue;
    for (const auto& [name, value] : record.items()) {
      if (name != "step" && name != "event") AddValue(value, figures[StatisticOf(event, name)]);
    }
  }
}

// Of the sequences 0 and 2, each a pass.
inline void AddMaps(Engine& engine, BatchSource& data, Figures& figures) {
  const auto found =
      EvaluateAttentionMaps(engine, data, std::vector<int64_t>{0, 2}, data.sequence_length());
  ASSERT_TRUE(found.ok()) << found.status();
  for (const SequenceMaps& maps : *found) {
    for (const std::vector<AttentionMap>& heads : maps.layers) {
      for (const AttentionMap& map : heads) AddValue(map.p, figures["maps p"]);
    }
  }
}

inline void AddOutliers(Engine& engine, BatchSource& data, Communicator& communicator,
                        Figures& figures) {
  const auto found = EvaluateWithOutliers(engine, data, communicator,
                                          {.batch_size = engine.options().max_batch, .batches = 2});
  ASSERT_TRUE(found.ok()) << found.status();
  for (const TensorOutliers& tensor : found->outliers) {
    figures["outliers inf_norm_per_sequence"].push_back(tensor.sequence.inf_norm);
    figures["outliers inf_norm_per_token"].push_back(tensor.token.inf_norm);
    figures["outliers kurtosis_per_sequence"].push_back(tensor.sequence.kurtosis);
    figures["outliers kurtosis_per_token"].push_back(tensor.token.kurtosis);
    figures["outliers top_channel_share"].push_back(tensor.top_channel_share);
  }
  for (const NamedOutlierMetric& metric : NamedOutlierMetrics(found->outliers, IsPreNorm(engine))) {
    figures["outliers published"].push_back(metric.value);
  }
}

// Nothing of data that are of another task.
inline void AddSinks(Engine& engine, BatchSource& data, Communicator& communicator,
                     Figures& figures) {
  auto* generated = dynamic_cast<BigramBackcopySource*>(&data);
  if (generated == nullptr) return;
  const auto metrics = EvaluateBigramBackcopy(engine, *generated, communicator, {});
  ASSERT_TRUE(metrics.ok()) << metrics.status();
  for (const auto& [name, value] : NamedValues(*metrics)) {
    figures[StatisticOf("bigram_backcopy", name)].push_back(value);
  }
}

// Weights near those that figures are asked of. Number 0: these themselves.
struct Draw {
  uint64_t number = 0;
  double share = 0;  // a weight is moved by as much at most, of the largest of its parameter
};

// Gives every parameter numbers of its own, those that start at 0 or 1 too, and moves them as
// `draw` says.
inline void SetWeights(Engine& engine, const Draw& draw) {
  auto weights = HostTensor::Read(engine.device(), engine.parameters().flat_master());
  ASSERT_TRUE(weights.ok()) << weights.status();
  uint64_t seed = 0;
  for (const Parameter& parameter : engine.parameters().parameters()) {
    float* values = weights->view().as<float>() + parameter.offset;
    const int64_t count = parameter.elements();
    // Gates so wide that some are nearly open and some nearly shut.
    const double width = parameter.name.find(".gate.") == std::string::npos ? 0.2 : 2;
    const std::vector<double> numbers = RandomValues(count, ++seed, -width, width);
    float largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      values[i] += static_cast<float>(numbers[i]);
      largest = std::max(largest, std::abs(values[i]));
    }
    if (draw.number == 0) continue;
    const std::vector<double> moves = RandomValues(count, seed + 1000 * draw.number, -1, 1);
    for (int64_t i = 0; i < count; ++i) {
      values[i] += static_cast<float>(draw.share * largest * moves[i]);
    }
  }
  ASSERT_TRUE(weights->Store().ok());
  ASSERT_TRUE(engine.WeightsLoaded().ok());
}

}  // namespace sluice::testing
