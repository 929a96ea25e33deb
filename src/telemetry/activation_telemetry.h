// Outliers of a model while it trains: an Observer that works out, where the tensors lie, moments
// of the rows of a few sequences, and puts them together when the update is done. Definitions:
// docs/metrics.md.
//
//   ActivationTelemetry activations(config, {rank, world_size, micro_batch});
//   activations.Plan(arena);                                         before it is made
//   if (activations.Due(step)) …                                     of the update at hand
//     if (activations.BeginBatch(part)) …                            forward with &activations
//     ASSIGN_OR_RETURN(const auto tensors, activations.Collect(device, communicator));
//
// It looks at the first telemetry.statistics_sequences sequences of an update's batch of all ranks,
// on the ranks that have them. What is found of a sequence does not depend on which rank that is,
// and sequences are added up in their order: the same activations give the same bits on any number
// of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "model/observer.h"
#include "ops/row_moments.h"
#include "runtime/arena.h"
#include "telemetry/metric_writer.h"

namespace sluice {

struct TensorActivations {
  int layer = -1;
  std::string tensor;                                        // observed::k…
  double max_abs = 0;                                        // of everything that was looked at
  double kurtosis_per_sequence = 0, kurtosis_per_token = 0;  // means over rows
  double top_channel_share = 0;
};

class ActivationTelemetry : public Observer {
 public:
  struct Share {
    int64_t rank = 0, world_size = 1;
    int64_t micro_batch = 1;  // sequences
  };
  ActivationTelemetry(const RunConfig& config, const Share& share);

  bool enabled() const { return every_ > 0; }
  // Whether update number `step` is looked at.
  bool Due(int64_t step) const { return enabled() && step % every_ == 0; }

  // Memory of the device for what is found; a few kilobytes a tensor and sequence.
  void Plan(Arena& arena);

  // Before the forward pass of micro-batch `part` of this rank. False: none of its sequences is
  // looked at.
  bool BeginBatch(int64_t part);
  bool Wants(absl::string_view tensor) const override;
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override;
  // Never: everything is done in place.
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;

  // Of the update, when all its micro-batches have gone forward; collective, the same on every
  // rank. Waits for a GPU.
  absl::StatusOr<std::vector<TensorActivations>> Collect(Device& device,
                                                         Communicator& communicator) const;

 private:
  int64_t rows() const { return own_ * row_length_; }
  int64_t moments_per_slot() const;  // doubles
  RowMomentSums* MomentsOf(void* memory, int64_t slot) const;
  double* SquaresOf(void* memory, int64_t slot) const;
  // Of this rank's sequence at place `sequence`: what is in `sums` of one sequence.
  void SumSequence(void* memory, int64_t slot, int64_t sequence, std::span<double> sums) const;

  const int64_t every_, layers_, hidden_size_, row_length_;
  const int64_t micro_batch_;
  const int64_t sequences_;             // looked at, on all ranks together
  const int64_t first_;                 // place of this rank's first sequence in the update's batch
  const int64_t own_;                   // looked at, on this rank
  const TensorView* memory_ = nullptr;  // slot by slot: moments of rows, squares of sequences
  int64_t offset_ = 0, looked_ = 0;     // of the micro-batch at hand: place in own_, and number
};

// Fields of the record `activations`: layer_L.TENSOR.max_abs and so on; names of tensors of layer
// -1 begin with `embedding` themselves.
MetricFields ActivationFields(int64_t step, const std::vector<TensorActivations>& tensors);
// "layer_3.feed_forward.output"
std::string PlaceName(int layer, const std::string& tensor);

}  // namespace sluice
