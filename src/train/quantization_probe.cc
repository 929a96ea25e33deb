#include "train/quantization_probe.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "runtime/host_tensor.h"
#include "train/evaluation.h"
#include "train/outlier_evaluation.h"

namespace sluice {

std::string DescribeGap(const QuantizationGap& gap) {
  return absl::StrFormat("perplexity %.3f, W8A8 %.3f (%+.3f)  %s (%d sequences, %.1fs)",
                         gap.perplexity, gap.quantized_perplexity,
                         gap.quantized_perplexity - gap.perplexity, gap.data, gap.sequences,
                         gap.seconds);
}

MetricFields FieldsOf(const QuantizationGap& gap, int64_t step) {
  return {{"step", step},
          {"data", gap.data},
          {"perplexity", gap.perplexity},
          {"quantized_perplexity", gap.quantized_perplexity},
          {"gap", gap.quantized_perplexity - gap.perplexity}};
}

absl::StatusOr<std::unique_ptr<QuantizationProbe>> QuantizationProbe::Create(
    const RunConfig& config, const EngineOptions& training) {
  const std::string& name = config.telemetry.quantization_probe;
  if (name == "off") return nullptr;
  ASSIGN_OR_RETURN(const Architecture architecture, DescribeArchitecture(config.model));
  const bool opt =
      name == "opt" || (name == "auto" && architecture.norm_placement == NormPlacement::kPreNorm);
  const QuantizationPreset preset = opt ? OptPreset() : BertPreset();
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                   Engine::Create(config, {.dtype = DType::kFloat32,
                                           .max_batch = preset.calibration_batch_size,
                                           .length = training.length,
                                           .train = false,
                                           .device = training.device,
                                           .local_rank = training.local_rank}));
  return std::unique_ptr<QuantizationProbe>(new QuantizationProbe(
      preset, config.telemetry.quantization_probe_batches, std::move(engine)));
}

std::string QuantizationProbe::DescribePlan() const {
  return absl::StrFormat("the quantization probe's own fp32 model: %d MiB more\n",
                         engine_->arena().bytes() >> 20);
}

absl::Status QuantizationProbe::Start(BatchSource& training, BatchSource& validation) {
  RETURN_IF_ERROR(engine_->Allocate());
  BatchSource& source = preset_.calibrates_on_training_data ? training : validation;
  ASSIGN_OR_RETURN(calibration_, ReadBatches(source, preset_.calibration_batches,
                                             preset_.calibration_batch_size));
  return calibration_.empty() ? DataError("no sequence to calibrate on", source.name())
                              : absl::OkStatus();
}

absl::Status QuantizationProbe::CopyWeights(Engine& trained) {
  CHECK_EQ(trained.parameters().flat_elements(), engine_->parameters().flat_elements());
  ASSIGN_OR_RETURN(const HostTensor from,
                   HostTensor::Read(trained.device(), trained.parameters().flat_master()));
  HostTensor to = HostTensor::ToWrite(engine_->device(), engine_->parameters().flat_master());
  std::copy_n(from.view().as<float>(), from.view().elements(), to.view().as<float>());
  RETURN_IF_ERROR(to.Store());
  return engine_->WeightsLoaded();
}

absl::StatusOr<QuantizationGap> QuantizationProbe::Measure(Engine& trained, BatchSource& validation,
                                                           Communicator& communicator) {
  RETURN_IF_ERROR(communicator.Agree(CopyWeights(trained)));
  const int64_t batch_size = preset_.calibration_batch_size;
  ASSIGN_OR_RETURN(const EvaluationResult plain,
                   Evaluate(*engine_, validation, communicator, batch_size, batches_));
  absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> quantized =
      PostTrainingQuantization::Apply(*engine_, calibration_, preset_.options);
  RETURN_IF_ERROR(communicator.Agree(quantized.status()));
  ASSIGN_OR_RETURN(const EvaluationResult rounded,
                   Evaluate(*engine_, validation, communicator, batch_size, batches_,
                            &(*quantized)->activations()));
  return QuantizationGap{.data = validation.name(),
                         .perplexity = plain.perplexity,
                         .quantized_perplexity = rounded.perplexity,
                         .sequences = plain.sequences,
                         .seconds = plain.seconds + rounded.seconds};
}

}  // namespace sluice
