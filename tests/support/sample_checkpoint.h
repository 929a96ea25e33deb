// A small checkpoint for tests, with every kind of content.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint.h"
#include "support/compare.h"

namespace sluice::testing {

inline Shape MakeShape(const std::vector<int64_t>& dims) {
  return dims.size() == 1 ? Shape{dims[0]} : Shape{dims[0], dims[1]};
}

// Owns what the contents look at.
struct SampleCheckpoint {
  struct Tensor {
    std::string name;
    std::vector<int64_t> dims;
    std::vector<float> values;
  };
  std::vector<Tensor> model, optimizer;
  CheckpointContents contents;

  CheckpointContents& Contents() {
    contents.model.clear();
    contents.optimizer.clear();
    for (const Tensor& tensor : model) {
      contents.model.push_back({tensor.name, MakeShape(tensor.dims), tensor.values});
    }
    for (const Tensor& tensor : optimizer) {
      contents.optimizer.push_back({tensor.name, MakeShape(tensor.dims), tensor.values});
    }
    return contents;
  }
};

inline GateStatistics SampleGates() {
  GateStatistics gates;
  gates.layers = 2;
  gates.heads = 3;
  gates.token_classes = {"all", "cls", "other"};
  gates.rejected = 4;
  gates.batches = 5;
  gates.cells.resize(2 * 3 * 3);
  for (size_t i = 0; i < gates.cells.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    GateCell& cell = gates.cells[i];
    cell.count = 1000003 + n;
    cell.mean = 0.1 + 0.01 * static_cast<double>(n);
    cell.variance = 1.0 / static_cast<double>(3 + n);
    cell.minimum = 1e-9 * static_cast<double>(n);
    cell.maximum = 1 - 1e-9 * static_cast<double>(n);
    cell.entropy = 0.69 / static_cast<double>(1 + n);
    cell.count_below = 333331 + n;
    cell.count_above = 77 * n;
    for (int bin = 0; bin < kGateHistogramBins; ++bin) cell.histogram[bin] = 100 * n + bin;
  }
  return gates;
}

inline std::vector<float> SampleValues(int64_t count, uint64_t seed) {
  return Cast<float>(RandomValues(count, seed));
}

inline SampleCheckpoint MakeSampleCheckpoint(int64_t step = 1000, uint64_t seed = 1) {
  SampleCheckpoint sample;
  sample.model = {
      {"bert.embeddings.word_embeddings.weight", {700, 33}, SampleValues(23100, seed)},
      {"bert.encoder.layer.0.attention.self.gate.weight", {3, 5}, SampleValues(15, seed + 1)},
      {"a.bias", {7}, SampleValues(7, seed + 2)}};
  sample.model[2].values[3] = -0.0f;   // bits that a comparison of values would miss
  sample.model[2].values[4] = 1e-42f;  // subnormal
  for (const SampleCheckpoint::Tensor& tensor : sample.model) {
    for (const char* moment : {"m/", "v/"}) {
      sample.optimizer.push_back({moment + tensor.name, tensor.dims,
                                  SampleValues(static_cast<int64_t>(tensor.values.size()),
                                               seed + 10 + sample.optimizer.size())});
    }
  }
  sample.contents.gates = SampleGates();
  CheckpointState& state = sample.contents.state;
  state.step = step;
  state.next_sample = 256 * step;
  state.epoch = 3;
  state.seed = 0xFFFFFFFFFFFFFFFFu;
  state.loss_scale = 1.0 / 3;
  state.world_size = 2;
  state.best_metric = 12.345678901234567;
  state.best_step = 500;
  state.counters = {{"tokens_seen", 9007199254740993}, {"a: \"strange\" name\n", -1}};
  state.sluice_version = "0.1.0";
  sample.contents.config_yaml = "name: toy\nmodel:\n  hidden_size: 33\n  no_decay: [bias, gate]\n";
  return sample;
}

inline std::string FileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
inline void SetFileBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sluice::testing
