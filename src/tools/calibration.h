// The data that ranges of quantizers are taken from.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "tools/quantize_arguments.h"
#include "train/load_model.h"

namespace sluice {

struct Calibration {
  std::string data;
  std::vector<Batch> batches;

  int64_t sequences() const;
};

// What --calibration-data names, or by the preset the run's training data or `evaluated`.
// UsageError or DataError where there is none, or it is of another vocabulary.
absl::StatusOr<Calibration> ReadCalibration(const QuantizeArguments& arguments,
                                            const QuantizationPreset& preset,
                                            const LoadedModel& model, BatchSource& evaluated);

}  // namespace sluice
