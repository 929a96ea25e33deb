// What watches a run's training passes, when each part of it looks, and what it records: between
// the Trainer and the observers of src/telemetry.
//
//   RunTelemetry telemetry(config, source->tokenizer(), source->manifest());
//   telemetry.BeginUpdate(step);                               before the update that becomes
//   `step` ASSIGN_OR_RETURN(Observer* observer, telemetry.BeginBatch(batch, first_row)); … forward
//   and backward with `observer` … RETURN_IF_ERROR(telemetry.Record(step, comm, record)); behind
//   the update
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "checkpoint/telemetry_record.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "data/manifest.h"
#include "telemetry/attention_telemetry.h"
#include "telemetry/gate_telemetry.h"
#include "telemetry/run_record.h"

namespace sluice {

class RunTelemetry {
 public:
  RunTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer, const Manifest* data);

  // As GateTelemetry's.
  void Plan(Arena& arena, Device& device, int64_t most_sequences, int64_t length) {
    gates_.Plan(arena, device, most_sequences, length);
  }
  absl::Status Start() { return gates_.Start(); }

  // Before the micro-batches of the update that becomes `step`.
  void BeginUpdate(int64_t step);
  // Before the forward pass of a micro-batch whose first row is row `first_row` of the update's
  // global batch. Who is to observe it, or null.
  absl::StatusOr<Observer*> BeginBatch(const Batch& batch, int64_t first_row);

  // Behind an update: events `gates` and `attention`, where they are due, which rank 0 writes to
  // `record`. Collective.
  absl::Status Record(int64_t step, Communicator& communicator, RunRecord& record);

  // Before statistics and state are taken for a checkpoint; collective.
  absl::Status Gather(Communicator& communicator) { return gates_.Merge(communicator); }
  GateStatistics gates() const { return gates_.statistics(GateTelemetry::Since::kCheckpoint); }
  AttentionStatistics attention() const { return attention_.since_checkpoint(); }
  // What a run that goes on from a checkpoint of `step` has to know: of one that was not due, all
  // since the one before, so that a run that was stopped and one that was not record the same.
  TelemetryState StateAt(int64_t step) const;
  void CheckpointWritten(int64_t step);
  void Restore(const TelemetryState& state);

  // Brings over what a GPU has summed, and the mean gate of the last look; negative: none.
  absl::Status CollectGates() { return gates_.Collect(); }
  double last_gate_mean() const { return gates_.last_mean(); }

 private:
  bool due(int64_t step) const {
    return attention_.enabled() && step % config_.telemetry.attention_statistics_every == 0;
  }
  bool checkpoint_due(int64_t step) const {
    return config_.checkpoint.every > 0 && step % config_.checkpoint.every == 0;
  }

  const RunConfig config_;
  GateTelemetry gates_;
  AttentionTelemetry attention_;
  bool look_at_gates_ = false, look_at_attention_ = false;  // in the update at hand
  std::optional<ObserverChain> both_;
};

}  // namespace sluice
