#include "telemetry/gate_telemetry.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "data/vocabulary_file.h"

namespace sluice {
namespace {

std::vector<std::string> ReadPieces(const Manifest* data) {
  std::vector<std::string> pieces;
  if (data == nullptr) return pieces;
  const auto vocabulary = VocabularyFile::Read(data->VocabularyPaths(), data->tokenizer.kind);
  if (!vocabulary.ok()) {
    LogWarning(absl::StrCat("gate statistics cannot tell words from punctuation: ",
                            vocabulary.status().message()));
    return {};
  }
  return vocabulary->pieces();
}

}  // namespace

GateTelemetry::GateTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer,
                             const Manifest* data) {
  if (config.model.attention.variant != "gated" || config.telemetry.gate_statistics_every == 0) {
    return;
  }
  classes_ = std::make_unique<TokenClasses>(tokenizer, ReadPieces(data));
  std::vector<std::string> names = classes_->names();
  registers_ = config.model.attention.register_tokens;
  if (registers_ > 0) {
    register_class_ = static_cast<uint8_t>(names.size());
    names.emplace_back("register");
  }
  heads_ = config.model.num_attention_heads;
  accumulator_ =
      std::make_unique<GateAccumulator>(config.model.num_hidden_layers, heads_, std::move(names));
}

void GateTelemetry::BeginBatch(const Batch& batch) {
  CHECK(enabled());
  classes_->Classify(batch, class_of_token_);
  class_of_row_.clear();
  for (int64_t b = 0; b < batch.B; ++b) {
    const auto sequence = class_of_token_.begin() + b * batch.T;
    class_of_row_.insert(class_of_row_.end(), registers_, register_class_);
    class_of_row_.insert(class_of_row_.end(), sequence, sequence + batch.T);
  }
  accumulator_->BeginBatch();
}

void GateTelemetry::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (tensor != observed::kGate) return;
  CHECK_EQ(view.rows(), static_cast<int64_t>(class_of_row_.size()));
  accumulator_->Add(layer, view.as<float>(), view.row_stride(), view.dim(-1) / heads_,
                    class_of_row_);
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
