// What `sluice quantize` found, for people and for programs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tools/quantize_arguments.h"

namespace sluice {

struct QuantizedResult {
  BitWidths bits;
  OutlierEvaluation evaluation;
  std::vector<QuantizationError> worst;  // least signal over noise first
};

struct QuantizationReport {
  std::string checkpoint, data, calibration_data;
  int64_t step = 0, sequence_length = 0, calibration_sequences = 0;
  std::optional<uint64_t> calibration_seed = {};  // of their order; null: as they lie
  bool pre_norm = false;
  double smooth = 0;
  PostTrainingQuantizationOptions options = {};  // but for bits
  OutlierEvaluation before = {};
  std::vector<QuantizedResult> quantized = {};
};

// What ranges are of, as both reports on quantized models say it; seed: of the data's order, null:
// as they lie.
nlohmann::ordered_json CalibrationToJson(const std::string& data, int64_t sequences,
                                         std::optional<uint64_t> seed);

std::string FormatQuantizationReport(const QuantizationReport& report);
nlohmann::ordered_json QuantizationReportToJson(const QuantizationReport& report);

}  // namespace sluice
