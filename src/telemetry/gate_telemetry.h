// Watches the gates of a model while it trains: an Observer that classifies each token and hands
// gate values to the record that checkpoints store.
//
//   GateTelemetry gates(config, source->tokenizer(), source->manifest());
//   if (gates.enabled() && step % config.telemetry.gate_statistics_every == 0) {
//     RETURN_IF_ERROR(gates.BeginBatch(batch));  // then forward with &gates as its observer
//   }
//
// On a GPU sums are made and kept there (device_gate_sums.h); Collect brings them over.
//
// Groups of tokens in its records, besides those of TokenClasses and "register": "special" (all
// special tokens), "other" (words and continuations) and "first_position" (whatever stands first in
// a row). The last overlaps with the others.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "checkpoint/gate_record.h"
#include "checkpoint/telemetry_record.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "data/manifest.h"
#include "model/observer.h"
#include "telemetry/device_gate_sums.h"
#include "telemetry/gate_statistics.h"
#include "telemetry/token_classes.h"

namespace sluice {

class GateTelemetry : public Observer {
 public:
  // What a record is about: everything since the last checkpoint, or since the last record of a
  // run's metrics.
  enum class Since { kCheckpoint, kRecord };

  // `data`: whose vocabulary file says which tokens are words, continuations and punctuation; all
  // of them count as words when there is none, or, with a warning, when it cannot be read.
  GateTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer, const Manifest* data);

  // Whether the model has gates and the configuration wants to know of them.
  bool enabled() const { return accumulator_ != nullptr; }

  // Where the model is on a GPU, before its arena is made: memory there, for batches of so many
  // tokens. Start behind it, and before the first batch. Gates with a scale are counted on the
  // host.
  void Plan(Arena& arena, Device& device, int64_t most_sequences, int64_t length);
  absl::Status Start();

  // Before the forward pass that is observed, with its batch.
  absl::Status BeginBatch(const Batch& batch);
  bool Wants(absl::string_view tensor) const override { return tensor == observed::kGate; }
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override;
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;

  // What a GPU has summed since the last time comes over; waits for it. Nothing where there is
  // nothing new.
  absl::Status Collect();
  // Of the last batch on this rank, as collected; negative when there was none.
  double last_mean() const { return enabled() ? accumulator_->BatchMean() : -1; }

  // Puts together what all ranks have looked at since the last time, on every rank; collective.
  // Only that is in statistics and state.
  absl::Status Merge(Communicator&);
  GateStatistics statistics(Since since) const;  // empty without gates, or without a look
  void Reset(Since since);

  // Sums that the statistics are of, the same on every rank whatever the number of ranks is: those
  // since the last record, and if asked those since the last checkpoint.
  void SaveState(TelemetryState& state, bool since_checkpoint) const;
  // What is of another model is left, with a warning.
  void RestoreState(const TelemetryState& state);

 private:
  static std::vector<GateGroup> Groups(const TokenClasses& classes, bool registers);
  const GateAccumulator& Of(Since since) const { return *merged_[static_cast<size_t>(since)]; }

  std::unique_ptr<GateAccumulator> accumulator_;  // since the last Merge; null: not enabled
  std::array<std::unique_ptr<GateAccumulator>, 2> merged_;  // by Since
  std::unique_ptr<TokenClasses> classes_;
  std::unique_ptr<DeviceGateSums> on_device_;  // null: gates are on the host
  bool uncollected_ = false;
  float scale_ = 1;              // of the gates: what is counted is gate / scale
  std::vector<float> openings_;  // (N, G): gate / scale
  bool records_ = false;         // whether somebody takes records
  int64_t layers_ = 0, heads_ = 0, registers_ = 0, class_count_ = 0;
  // Behind the classes of tokens: special tokens that stand first, then registers.
  uint8_t special_classes_ = 0, first_special_class_ = 0, register_class_ = 0;
  std::vector<uint8_t> class_of_token_;  // (B·T) of the batch
  std::vector<uint8_t> class_of_row_;    // (B·(R + T)): what the model's rows are
};

}  // namespace sluice
