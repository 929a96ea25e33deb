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

constexpr const char* kStateNames[] = {"gates_since_checkpoint", "gates_since_record"};

}  // namespace

std::vector<GateGroup> GateTelemetry::Groups(const TokenClasses& classes, bool registers) {
  const std::vector<std::string>& names = classes.names();
  const auto count = static_cast<uint8_t>(names.size());
  const auto specials = static_cast<uint8_t>(classes.special_classes());
  std::vector<GateGroup> groups;
  GateGroup special{"special", {}}, other{"other", {}}, first{"first_position", {}};
  for (uint8_t k = 0; k < count; ++k) {
    groups.push_back({names[k], {k}});
    if (k < specials) {
      const auto standing_first = static_cast<uint8_t>(count + k);
      groups.back().classes.push_back(standing_first);
      special.classes.insert(special.classes.end(), {k, standing_first});
      first.classes.push_back(standing_first);
    }
    if (names[k] == "first") first.classes.push_back(k);
    if (names[k] == "word" || names[k] == "continuation") other.classes.push_back(k);
  }
  if (registers) groups.push_back({"register", {static_cast<uint8_t>(count + specials)}});
  groups.insert(groups.end(), {std::move(special), std::move(other), std::move(first)});
  return groups;
}

GateTelemetry::GateTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer,
                             const Manifest* data) {
  if (config.model.attention.variant != "gated" || config.telemetry.gate_statistics_every == 0) {
    return;
  }
  classes_ = std::make_unique<TokenClasses>(tokenizer, ReadPieces(data));
  registers_ = config.model.attention.register_tokens;
  layers_ = config.model.num_hidden_layers;
  heads_ = config.model.num_attention_heads;
  scale_ = static_cast<float>(GateScale(config.model.attention.gate));
  special_classes_ = static_cast<uint8_t>(classes_->special_classes());
  first_special_class_ = static_cast<uint8_t>(classes_->names().size());
  register_class_ = first_special_class_ + special_classes_;
  class_count_ = register_class_ + (registers_ > 0 ? 1 : 0);
  const auto make = [&] {
    return std::make_unique<GateAccumulator>(layers_, heads_, class_count_,
                                             Groups(*classes_, registers_ > 0));
  };
  accumulator_ = make();
  for (auto& merged : merged_) merged = make();
  records_ = config.telemetry.attention_statistics_every > 0;
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
    uint8_t& first = class_of_row_[class_of_row_.size() - static_cast<size_t>(batch.T)];
    if (first < special_classes_) first += first_special_class_;
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
  RETURN_IF_ERROR(accumulator_->Merge(communicator));
  merged_[static_cast<size_t>(Since::kCheckpoint)]->AddSums(*accumulator_);
  if (records_) merged_[static_cast<size_t>(Since::kRecord)]->AddSums(*accumulator_);
  accumulator_->Reset();
  return absl::OkStatus();
}

GateStatistics GateTelemetry::statistics(Since since) const {
  return enabled() ? Of(since).Statistics() : GateStatistics();
}

void GateTelemetry::Reset(Since since) {
  if (enabled()) merged_[static_cast<size_t>(since)]->Reset();
}

void GateTelemetry::SaveState(TelemetryState& state, bool since_checkpoint) const {
  if (!enabled()) return;
  for (size_t i = 0; i < merged_.size(); ++i) {
    const bool asked = since_checkpoint || i == static_cast<size_t>(Since::kRecord);
    if (asked && !merged_[i]->empty()) state.counts[kStateNames[i]] = merged_[i]->State();
  }
}

void GateTelemetry::RestoreState(const TelemetryState& state) {
  if (!enabled()) return;
  for (size_t i = 0; i < merged_.size(); ++i) {
    const auto found = state.counts.find(kStateNames[i]);
    if (found == state.counts.end() || merged_[i]->Restore(found->second)) continue;
    LogWarning(absl::StrCat("gate statistics begin anew: the checkpoint's ", kStateNames[i],
                            " are of another model"));
  }
}

}  // namespace sluice
