// What a checkpoint holds. It knows names and flat arrays, not models: the trainer hands in views
// of its flat buffers, nothing is copied.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/gate_record.h"
#include "checkpoint/telemetry_record.h"
#include "runtime/shape.h"

namespace sluice {

// A tensor to write. Names of optimizer tensors are "m/PARAMETER" and "v/PARAMETER".
struct NamedTensor {
  std::string name;
  Shape shape;  // rank >= 1, no dimension 0
  std::span<const float> values;
};

// Where a tensor is read to.
struct TensorDestination {
  std::string name;
  Shape shape;
  std::span<float> values;
};

// Where training goes on. Data order, masks, dropout and initial weights are functions of seed and
// position, so this is all of the random state.
struct CheckpointState {
  int64_t step = 0;         // updates done
  int64_t next_sample = 0;  // global index of the first sample that was not used yet
  int64_t epoch = 0;        // of next_sample; for people
  uint64_t seed = 0;
  double loss_scale = 1;
  int64_t world_size = 1;             // ranks that wrote it; any number may go on
  std::optional<double> best_metric;  // of the evaluations so far
  std::optional<int64_t> best_step;
  std::map<std::string, int64_t> counters;  // the trainer's own, e.g. tokens_seen
  std::string sluice_version;
  // Set when the weights were imported, not trained: what from, e.g. "hugging_face". Then of
  // config.yaml only what the weights compute is known, and the moments are zero.
  std::optional<std::string> imported_from;
  friend bool operator==(const CheckpointState&, const CheckpointState&) = default;
};

struct CheckpointContents {
  std::vector<NamedTensor> model;
  std::vector<NamedTensor> optimizer;
  // In gates.h5, which is left out where all three are empty.
  GateStatistics gates;
  AttentionStatistics attention;
  TelemetryState telemetry;
  CheckpointState state;    // state.step names the folder
  std::string config_yaml;  // the resolved configuration
  // Copied under their own names, so that a checkpoint can be used alone: the vocabulary.
  std::vector<std::string> files;
  // Likewise, by name, where there is no file to copy.
  std::map<std::string, std::string> texts;
};

}  // namespace sluice
