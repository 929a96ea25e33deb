// What `sluice quantize` is told.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "train/outlier_evaluation.h"
#include "train/post_training_quantization.h"

namespace sluice {

struct BitWidths {
  int weights, activations;
};

struct QuantizeArguments {
  std::string path, data, preset, calibration_data, sweep, out;
  std::vector<std::string> data_overrides;
  // Empty, 0 or false: as the preset has it.
  std::string weight_ranges, activation_ranges, activation_method;
  int weight_bits = 8, activation_bits = 8;
  std::optional<double> percentile;  // else the preset's
  int64_t calibration_batches = 0, calibration_batch_size = 0;
  std::optional<uint64_t> calibration_seed;  // else the run's
  bool per_channel = false;
  std::string gate_value = "quantized", gate_position, int16_layer_norms = "none";
  double smooth = 0;
  int64_t worst = 8;
  OutlierEvaluationOptions evaluation;
  bool json = false;
};

void AddQuantizeOptions(CLI::App& command, QuantizeArguments& arguments);
// Of them those that say how ranges come about, for other commands too.
void AddRangeOptions(CLI::App& command, QuantizeArguments& arguments);
void AddCalibrationOptions(CLI::App& command, QuantizeArguments& arguments);

// Sequences of the largest batch, whatever the preset.
int64_t LargestBatch(const QuantizeArguments& arguments);

// UsageError where what AddRangeOptions adds is out of range.
absl::Status CheckRanges(const QuantizeArguments& arguments);

// The named preset (none: that of the model's kind) with what the arguments change in it.
QuantizationPreset ResolvePreset(const QuantizeArguments& arguments, bool pre_norm);

// What to quantize to: --sweep ("W8A8,W4A8"), or --weight-bits and --activation-bits. 32: not
// quantized. UsageError for bits out of range.
absl::StatusOr<std::vector<BitWidths>> ResolveBitWidths(const QuantizeArguments& arguments);

}  // namespace sluice
