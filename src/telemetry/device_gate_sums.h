// Sums of gates that a GPU has, kept there from look to look: a look copies the classes of its
// tokens and waits for nothing, and what is read in the end are sums, not gates.
//
//   DeviceGateSums sums(arena, device, {layers, heads, classes}, rows);   before the arena is made
//   RETURN_IF_ERROR(sums.Clear());                                        behind it
//   RETURN_IF_ERROR(sums.BeginBatch(class_of_row));
//   RETURN_IF_ERROR(sums.Add(context, layer, gates));                     each layer
//   RETURN_IF_ERROR(sums.MoveTo(accumulator));                            waits
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "ops/execution_context.h"
#include "runtime/arena.h"
#include "telemetry/gate_statistics.h"

namespace sluice {

class DeviceGateSums {
 public:
  struct Sizes {
    int64_t layers, heads, classes;
  };
  // Plans memory, for batches of up to `rows` rows. `device` is the arena's.
  DeviceGateSums(Arena& arena, Device& device, const Sizes& sizes, int64_t rows);

  absl::Status Clear();
  absl::Status BeginBatch(std::span<const uint8_t> token_class);
  // (N, H · gates a head), of the batch.
  absl::Status Add(ExecutionContext& context, int64_t layer, const TensorView& gates);
  // Adds everything since Clear to `accumulator`, and clears.
  absl::Status MoveTo(GateAccumulator& accumulator);

 private:
  int64_t cells() const { return sizes_.layers * sizes_.heads * sizes_.classes; }
  int64_t* totals() const { return memory_->as<int64_t>(); }
  int64_t* sums() const { return totals() + kGateTotals; }
  int64_t* extremes() const { return sums() + cells() * kGateSums; }

  Device& device_;
  const Sizes sizes_;
  const int64_t most_rows_;
  const TensorView* memory_;       // totals of the batch, but all rejected; sums; extremes
  const TensorView* token_class_;  // bytes
  int64_t rows_ = 0;               // of the batch
};

}  // namespace sluice
