#include "telemetry/gate_telemetry.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "data/vocabulary_file.h"

namespace sluice {
namespace {

std::vector<std::string> ReadPieces(const Manifest& data) {
  const auto vocabulary = VocabularyFile::Read(data.VocabularyPaths(), data.tokenizer.kind);
  if (!vocabulary.ok()) {
    LogWarning(absl::StrCat("gate statistics cannot tell words from punctuation: ",
                            vocabulary.status().message()));
    return {};
  }
  return vocabulary->pieces();
}

}  // namespace

GateTelemetry::GateTelemetry(const RunConfig& config, const Manifest& data) {
  if (config.model.attention.variant != "gated" || config.telemetry.gate_statistics_every == 0) {
    return;
  }
  classes_ = std::make_unique<TokenClasses>(data.tokenizer, ReadPieces(data));
  accumulator_ = std::make_unique<GateAccumulator>(
      config.model.num_hidden_layers, config.model.num_attention_heads, classes_->names());
}

void GateTelemetry::BeginBatch(const Batch& batch) {
  CHECK(enabled());
  classes_->Classify(batch, class_of_row_);
  accumulator_->BeginBatch();
}

void GateTelemetry::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (tensor != "gate") return;
  CHECK_EQ(view.rows(), static_cast<int64_t>(class_of_row_.size()));
  accumulator_->Add(layer, view.as<float>(), view.row_stride(), class_of_row_);
}

absl::Status GateTelemetry::Merge(Communicator& communicator) {
  return enabled() ? accumulator_->Merge(communicator) : absl::OkStatus();
}

GateStatistics GateTelemetry::statistics() const {
  return enabled() ? accumulator_->Statistics() : GateStatistics();
}

void GateTelemetry::Reset() {
  if (enabled()) accumulator_->Reset();
}

}  // namespace sluice
