#include "tools/calibration.h"

#include <memory>
#include <utility>

#include "core/error.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "train/resume.h"

namespace sluice {

int64_t Calibration::sequences() const {
  int64_t all = 0;
  for (const Batch& batch : batches) all += batch.B;
  return all;
}

absl::StatusOr<Calibration> ReadCalibration(const QuantizeArguments& arguments,
                                            const QuantizationPreset& preset,
                                            const LoadedModel& model, BatchSource& evaluated) {
  std::unique_ptr<BatchSource> own;
  const std::string& named = arguments.calibration_data;
  const std::optional<uint64_t> given = arguments.calibration_seed;
  if (given.has_value() && named.empty() && !preset.calibrates_on_training_data) {
    return UsageError("ranges are taken from the data evaluated on, in order", "--calibration-seed",
                      "name other data with --calibration-data");
  }
  if (!named.empty() && model.config.data.source == "bigram_backcopy") {
    return UsageError("data are generated, none can be named", "--calibration-data", named);
  }
  Calibration calibration;
  if (!named.empty() && !given.has_value()) {
    ASSIGN_OR_RETURN(own, OpenEvaluationSource(model.config, named));
  } else if (!named.empty() || preset.calibrates_on_training_data) {
    RunConfig config = model.config;
    if (!named.empty()) config.data.train = named;
    config.training.seed = given.value_or(config.training.seed);
    calibration.seed = config.training.seed;
    absl::StatusOr<std::unique_ptr<BatchSource>> training = OpenTrainingSource(config);
    if (!training.ok() && !named.empty()) return training.status();
    if (!training.ok()) {
      return Annotate(training.status(),
                      "ranges are taken from the training data; --calibration-data names other");
    }
    own = *std::move(training);
  }
  BatchSource& source = own == nullptr ? evaluated : *own;
  RETURN_IF_ERROR(CheckSameVocabulary(model.folder, source.tokenizer()));
  ASSIGN_OR_RETURN(calibration.batches,
                   ReadBatches(source, preset.calibration_batches, preset.calibration_batch_size));
  calibration.data = source.name();
  if (calibration.batches.empty()) {
    return DataError("no sequence to calibrate on", calibration.data);
  }
  return calibration;
}

}  // namespace sluice
