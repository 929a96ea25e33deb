// What 8-bit weights and activations would cost a model while it is being trained: perplexity in
// fp32 and with simulated W8A8 quantization, of the same batches of the first validation set.
//
// The probe has an engine of its own, in fp32 and without gradients, that the weights are copied
// to: training cannot notice it, to the bit. Its memory comes on top.
//
//   ASSIGN_OR_RETURN(auto probe, QuantizationProbe::Create(config, training_engine.options()));
//   RETURN_IF_ERROR(probe->Start(train_data, validation_data));   before the prefetcher starts
//   ASSIGN_OR_RETURN(const QuantizationGap gap, probe->Measure(engine, validation_data, comm));
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "data/batch_source.h"
#include "telemetry/metric_writer.h"
#include "train/engine.h"
#include "train/post_training_quantization.h"

namespace sluice {

struct QuantizationGap {
  std::string data;
  double perplexity = 0, quantized_perplexity = 0;  // fp32 and W8A8
  int64_t sequences = 0;
  double seconds = 0;
};
// "perplexity 23.1, W8A8 23.4 (+0.3)  data (512 sequences, 1.2s)".
std::string DescribeGap(const QuantizationGap& gap);
// Of the record `quantization` (docs/formats/metrics.md).
MetricFields FieldsOf(const QuantizationGap& gap, int64_t step);

class QuantizationProbe {
 public:
  // Null where telemetry.quantization_probe is off. Plans memory; `training` is of the engine that
  // trains.
  static absl::StatusOr<std::unique_ptr<QuantizationProbe>> Create(const RunConfig& config,
                                                                   const EngineOptions& training);
  std::string DescribePlan() const;  // of its memory, one line

  // Allocates and reads the preset's calibration batches, the same at every checkpoint: the first
  // of the training data, or of the validation data.
  absl::Status Start(BatchSource& training, BatchSource& validation);

  // Copies the weights of `trained`, then evaluates twice. Collective; all ranks get the same.
  absl::StatusOr<QuantizationGap> Measure(Engine& trained, BatchSource& validation,
                                          Communicator& communicator);

 private:
  QuantizationProbe(const QuantizationPreset& preset, int64_t batches,
                    std::unique_ptr<Engine> engine)
      : preset_(preset), batches_(batches), engine_(std::move(engine)) {}
  absl::Status CopyWeights(Engine& trained);

  QuantizationPreset preset_;
  int64_t batches_;
  std::unique_ptr<Engine> engine_;
  std::vector<Batch> calibration_;
};

}  // namespace sluice
