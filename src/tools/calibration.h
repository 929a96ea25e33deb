// The data that ranges of quantizers are taken from.
#pragma once

#include <cstdint>
#include <optional>
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
  std::optional<uint64_t> seed = {};  // of the order that they are the first in; null: as they lie

  int64_t sequences() const;
};

// What --calibration-data names, in order, or by the preset the run's training data, in the order
// of its seed, or `evaluated`, in order; with --calibration-seed in the order of that one.
// UsageError or DataError where there is none, it is of another vocabulary, or the seed would order
// nothing.
absl::StatusOr<Calibration> ReadCalibration(const QuantizeArguments& arguments,
                                            const QuantizationPreset& preset,
                                            const LoadedModel& model, BatchSource& evaluated);

}  // namespace sluice
