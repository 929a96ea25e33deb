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
  if (!arguments.calibration_data.empty()) {
    ASSIGN_OR_RETURN(own, OpenEvaluationSource(model.config, arguments.calibration_data));
  } else if (preset.calibrates_on_training_data) {
    absl::StatusOr<std::unique_ptr<BatchSource>> training = OpenTrainingSource(model.config);
    if (!training.ok()) {
      return Annotate(training.status(),
                      "ranges are taken from the training data; --calibration-data names other");
    }
    own = *std::move(training);
  }
  BatchSource& source = own == nullptr ? evaluated : *own;
  RETURN_IF_ERROR(CheckSameVocabulary(model.folder, source.tokenizer()));
  ASSIGN_OR_RETURN(std::vector<Batch> batches,
                   ReadBatches(source, preset.calibration_batches, preset.calibration_batch_size));
  if (batches.empty()) return DataError("no sequence to calibrate on", source.name());
  return Calibration{source.name(), std::move(batches)};
}

}  // namespace sluice
