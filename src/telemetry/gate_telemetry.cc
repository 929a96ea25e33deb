#include "telemetry/gate_telemetry.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "core/status.h"
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
  layers_ = config.model.num_hidden_layers;
  heads_ = config.model.num_attention_heads;
  scale_ = static_cast<float>(GateScale(config.model.attention.gate));
  class_count_ = std::ssize(names);
  accumulator_ = std::make_unique<GateAccumulator>(layers_, heads_, std::move(names));
}

void GateTelemetry::Plan(Arena& arena, Device& device, int64_t most_sequences, int64_t length) {
  if (!enabled() || !device.is_cuda() || scale_ != 1) return;
  on_device_ = std::make_unique<DeviceGateSums>(
      arena, device, DeviceGateSums::Sizes{layers_, heads_, class_count_},
      most_sequences * (registers_ + length));
}

absl::Status GateTelemetry::Start() {
  return on_device_ == nullptr ? absl::OkStatus() : on_device_->Clear();
}

absl::Status GateTelemetry::BeginBatch(const Batch& batch) {
  CHECK(enabled());
  classes_->Classify(batch, class_of_token_);
  class_of_row_.clear();
  for (int64_t b = 0; b < batch.B; ++b) {
    const auto sequence = class_of_token_.begin() + b * batch.T;
    class_of_row_.insert(class_of_row_.end(), registers_, register_class_);
    class_of_row_.insert(class_of_row_.end(), sequence, sequence + batch.T);
  }
  accumulator_->BeginBatch();
  if (on_device_ == nullptr) return absl::OkStatus();
  uncollected_ = true;
  return on_device_->BeginBatch(class_of_row_);
}

absl::StatusOr<bool> GateTelemetry::ObserveInPlace(ExecutionContext& context, int layer,
                                                   absl::string_view tensor,
                                                   const TensorView& view) {
  if (on_device_ == nullptr || tensor != observed::kGate) return false;
  CHECK_EQ(view.rows(), static_cast<int64_t>(class_of_row_.size()));
  RETURN_IF_ERROR(on_device_->Add(context, layer, view));
  return true;
}

void GateTelemetry::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (tensor != observed::kGate) return;
  CHECK_EQ(view.rows(), static_cast<int64_t>(class_of_row_.size()));
  const int64_t gates_per_head = view.dim(-1) / heads_;
  if (scale_ == 1) {
    accumulator_->Add(layer, view.as<float>(), view.row_stride(), gates_per_head, class_of_row_);
    return;
  }
  CHECK(view.contiguous());
  const float* gates = view.as<float>();
  openings_.resize(view.elements());
  // The quotient of an open gate may round to just above 1; anything further is none of rounding.
  for (size_t i = 0; i < openings_.size(); ++i) {
    const float opening = gates[i] / scale_;
    openings_[i] = opening > 1 && opening < 1 + 0x1p-22f ? 1 : opening;
  }
  accumulator_->Add(layer, openings_.data(), view.dim(-1), gates_per_head, class_of_row_);
}

absl::Status GateTelemetry::Collect() {
  if (on_device_ == nullptr || !uncollected_) return absl::OkStatus();
  uncollected_ = false;
  return on_device_->MoveTo(*accumulator_);
}

absl::Status GateTelemetry::Merge(Communicator& communicator) {
  if (!enabled()) return absl::OkStatus();
  RETURN_IF_ERROR(communicator.Agree(Collect()));
  return accumulator_->Merge(communicator);
}

GateStatistics GateTelemetry::statistics() const {
  return enabled() ? accumulator_->Statistics() : GateStatistics();
}

void GateTelemetry::Reset() {
  if (enabled()) accumulator_->Reset();
}

}  // namespace sluice
