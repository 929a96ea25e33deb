// What `sluice evaluate --int8` found, for people and for programs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nlohmann/json.hpp"
#include "train/integer_evaluation.h"

namespace sluice {

struct IntegerReport {
  std::string checkpoint, data, calibration_data;
  int64_t step = 0, sequence_length = 0, calibration_sequences = 0;
  std::optional<uint64_t> calibration_seed = {};  // of their order; null: as they lie
  bool gate_behind_context = false;               // QuantizesContextBeforeGate
  SixteenBitNorms sixteen_bit_norms = SixteenBitNorms::kNone;
  IntegerEvaluation evaluation = {};

  // How many times as fast as fp32.
  double speed() const { return evaluation.fp32.seconds / evaluation.integer.seconds; }
};

std::string FormatIntegerReport(const IntegerReport& report);
// The top level is what `sluice evaluate --json` prints, of the integers.
nlohmann::ordered_json IntegerReportToJson(const IntegerReport& report);

}  // namespace sluice
