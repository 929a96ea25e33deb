// Where attention goes while a model trains: an Observer that looks at a few sequences of an update
// and gives means for each layer and head. docs/metrics.md has the formulas with their sources.
//
//   AttentionTelemetry attention(config, source->tokenizer());
//   attention.BeginUpdate();
//   attention.BeginBatch(batch, first_row);     then forward with &attention as its observer
//   RETURN_IF_ERROR(attention.EndUpdate(comm));
//   attention.of_update(), attention.since_checkpoint() …
//
// Looked at are the first `telemetry.statistics_sequences` rows of the update's global batch, each
// on the rank and in the micro-batch that has it. Sums of each are kept apart until they are added
// up in the order of the global batch, so a record is the same to the bit however many ranks and
// micro-batches there are, as long as what the model computes is.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "checkpoint/telemetry_record.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "model/observer.h"
#include "telemetry/attention_probabilities.h"
#include "telemetry/sequence_sums.h"
#include "telemetry/token_classes.h"

namespace sluice {

class AttentionTelemetry : public Observer {
 public:
  AttentionTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer);

  // Whether the configuration wants to know of attention.
  bool enabled() const { return enabled_; }

  void BeginUpdate();
  // Before the forward pass of a micro-batch whose first row is row `first_row` of the global
  // batch. True when it has rows to look at, and this has to observe it.
  bool BeginBatch(const Batch& batch, int64_t first_row);
  // Adds up what all ranks saw of the update, on every rank; collective.
  absl::Status EndUpdate(Communicator& communicator);

  bool Wants(absl::string_view /*tensor*/) const override { return false; }
  void Observe(int, absl::string_view, const TensorView&) override {}
  AttentionLook attention_look() const override {
    return looked_at_ > 0 ? AttentionLook::kObserve : AttentionLook::kNone;
  }
  int64_t attention_sequences(int64_t /*B*/) const override { return looked_at_; }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override;

  // Of the last update, and of all since the last Reset. Only statistics that the model can have.
  AttentionStatistics of_update() const { return Statistics(update_); }
  AttentionStatistics since_checkpoint() const { return Statistics(checkpoint_); }
  void Reset() { checkpoint_ = Totals(); }

  void SaveState(TelemetryState& state) const;
  // What is of another model is left, with a warning.
  void RestoreState(const TelemetryState& state);

 private:
  struct Totals {
    int64_t looks = 0;
    std::vector<double> sums;  // (layers, heads, kSums); empty: zeros
  };
  int64_t cells() const { return layers_ * heads_; }
  AttentionStatistics Statistics(const Totals& totals) const;
  void AddHead(const ObservedAttention& attention, int64_t b, int64_t h, double* sums) const;
  void AddQueries(AttentionProbabilities& head, int64_t b, double* sums) const;
  void AddValues(const ObservedAttention& attention, int64_t b, int64_t h, double* sums) const;

  bool enabled_ = false;
  int64_t layers_ = 0, heads_ = 0, registers_ = 0, sequences_ = 0;
  bool sink_token_ = false, sink_logit_ = false, key_gates_ = false;
  TokenClasses classes_;
  std::unique_ptr<SequenceSums> sums_;  // of the update: (sequences, (layers, heads, kSums))
  Totals update_, checkpoint_;

  // Of the micro-batch: its rows below looked_at_ are looked at.
  int64_t first_row_ = 0, looked_at_ = 0, length_ = 0;
  std::vector<uint8_t> class_of_token_;  // (B, T)
};

}  // namespace sluice
