#include "train/run_telemetry.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/status.h"

namespace sluice {
namespace {

using Since = GateTelemetry::Since;

// Of all tokens, by layer that has gates; NaN where none of a head's gates was counted.
MetricFields GateFields(int64_t step, const AttentionConfig& attention,
                        const GateStatistics& gates) {
  MetricFields fields = {{"step", step}};
  const auto add = [&](int64_t layer, const char* name, auto value) {
    std::vector<double> heads;
    for (int64_t head = 0; head < gates.heads; ++head) {
      const GateCell& cell = gates.cell(layer, head);
      heads.push_back(cell.count > 0 ? value(cell) : std::numeric_limits<double>::quiet_NaN());
    }
    fields.emplace_back(absl::StrCat("layer_", layer, ".", name), std::move(heads));
  };
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    if (!IsGated(attention, layer)) continue;
    add(layer, "mean", [](const GateCell& cell) { return cell.mean; });
    add(layer, "variance", [](const GateCell& cell) { return cell.variance; });
    add(layer, "share_below", [](const GateCell& cell) { return cell.share_below(); });
    add(layer, "share_above", [](const GateCell& cell) { return cell.share_above(); });
    add(layer, "entropy", [](const GateCell& cell) { return cell.entropy; });
  }
  return fields;
}

MetricFields AttentionFields(int64_t step, const AttentionStatistics& attention) {
  MetricFields fields = {{"step", step}};
  for (int64_t layer = 0; layer < attention.layers; ++layer) {
    for (size_t i = 0; i < attention.names.size(); ++i) {
      const double* heads = attention.heads_of(i, layer);
      fields.emplace_back(absl::StrCat("layer_", layer, ".", attention.names[i]),
                          std::vector<double>(heads, heads + attention.heads));
    }
  }
  return fields;
}

}  // namespace

RunTelemetry::RunTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer,
                           const Manifest* data)
    : config_(config), gates_(config, tokenizer, data), attention_(config, tokenizer) {}

void RunTelemetry::BeginUpdate(int64_t step) {
  look_at_gates_ = gates_.enabled() && (step - 1) % config_.telemetry.gate_statistics_every == 0;
  look_at_attention_ = due(step);
  if (look_at_attention_) attention_.BeginUpdate();
}

absl::StatusOr<Observer*> RunTelemetry::BeginBatch(const Batch& batch, int64_t first_row) {
  const bool attention = look_at_attention_ && attention_.BeginBatch(batch, first_row);
  if (look_at_gates_) RETURN_IF_ERROR(gates_.BeginBatch(batch));
  if (attention && look_at_gates_) return &both_.emplace(attention_, gates_);
  if (attention) return &attention_;
  return look_at_gates_ ? &gates_ : nullptr;
}

absl::Status RunTelemetry::Record(int64_t step, Communicator& communicator, RunRecord& record) {
  if (!due(step)) return absl::OkStatus();
  RETURN_IF_ERROR(attention_.EndUpdate(communicator));
  RETURN_IF_ERROR(gates_.Merge(communicator));
  const GateStatistics gates = gates_.statistics(Since::kRecord);
  gates_.Reset(Since::kRecord);
  absl::Status status;
  if (communicator.rank() == 0) {
    if (!gates.empty()) {
      status = record.Write("gates", GateFields(step, config_.model.attention, gates));
    }
    if (status.ok()) {
      status = record.Write("attention", AttentionFields(step, attention_.of_update()));
    }
  }
  return communicator.Agree(status);
}

TelemetryState RunTelemetry::StateAt(int64_t step) const {
  TelemetryState state;
  gates_.SaveState(state, /*since_checkpoint=*/!checkpoint_due(step));
  if (!checkpoint_due(step)) attention_.SaveState(state);
  return state;
}

void RunTelemetry::CheckpointWritten(int64_t step) {
  if (!checkpoint_due(step)) return;
  gates_.Reset(Since::kCheckpoint);
  attention_.Reset();
}

void RunTelemetry::Restore(const TelemetryState& state) {
  gates_.RestoreState(state);
  attention_.RestoreState(state);
}

}  // namespace sluice
