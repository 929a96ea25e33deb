// Gathers what gates do. Sums are kept in whole numbers (ops/gate_sums.h), so a record does not
// depend on the order of rows, on micro-batches, threads or ranks: the same gates give the same
// bits.
//
//   GateAccumulator gates(layers, heads, {"[CLS]", "other"});
//   gates.BeginBatch();
//   gates.Add(layer, values, /*row_stride=*/heads, /*gates_per_head=*/1, token_class);
//   RETURN_IF_ERROR(gates.Merge(comm));          all ranks have the sums of all
//   since_checkpoint.AddSums(gates);             which longer stretches gather
//   contents.gates = since_checkpoint.Statistics();
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "checkpoint/gate_record.h"
#include "comm/communicator.h"
#include "ops/gate_sums.h"

namespace sluice {

// What a record has a cell for: the tokens of these classes together.
struct GateGroup {
  std::string name;
  std::vector<uint8_t> classes;
};

class GateAccumulator {
 public:
  // Each class of tokens, 0, 1, …, is a group by itself; a group "all" is put before them.
  GateAccumulator(int64_t layers, int64_t heads, const std::vector<std::string>& token_classes);
  // Groups may overlap, and leave classes out; "all" has all of `classes`.
  GateAccumulator(int64_t layers, int64_t heads, int64_t classes, std::vector<GateGroup> groups);

  void BeginBatch();
  // gates (N, H · gates_per_head), the gates of a head side by side, rows row_stride apart;
  // token_class (N), each below the number of classes or kUncountedToken. Values that are NaN or
  // outside of [0, 1] are counted as rejected and nothing else.
  void Add(int64_t layer, const float* gates, int64_t row_stride, int64_t gates_per_head,
           std::span<const uint8_t> token_class);

  // What was summed elsewhere since the last of these, as ops/gate_sums.h has it: of all layers,
  // (layers, heads, classes, kGateSums) and (layers, heads, classes, 2). totals: rejected gates,
  // and beside them what the last batch added.
  void AddSums(std::span<const int64_t> sums, std::span<const int64_t> extremes,
               std::span<const int64_t> totals);

  // Everything that `other`, of the same layers, heads and classes, has summed.
  void AddSums(const GateAccumulator& other);

  // Mean over what the last batch added; -1 when that was nothing.
  double BatchMean() const;

  // Adds up all ranks, in place, on every rank. Collective. Statistics and Reset follow, not Add.
  absl::Status Merge(Communicator& communicator);
  // Empty when there was no batch.
  GateStatistics Statistics() const;
  bool empty() const { return sums_.back() == 0; }
  void Reset();

  // All sums, and back: false, and nothing changes, where `state` is of other layers, heads or
  // classes.
  std::vector<int64_t> State() const;
  bool Restore(std::span<const int64_t> state);

 private:
  int64_t classes() const { return classes_; }
  int64_t cell_count() const { return layers_ * heads_ * classes(); }
  GateCell MakeCell(int64_t head, const GateGroup& group) const;

  const int64_t layers_;
  const int64_t heads_;
  const int64_t classes_;
  const std::vector<GateGroup> groups_;  // "all" first
  std::vector<int64_t> sums_;      // (layers, heads, classes, kGateSums), then rejected and batches
  std::vector<int64_t> extremes_;  // (layers, heads, classes, 2): bits of the largest value, and
                                   // minus those of the smallest
  std::array<int64_t, kGateTotals> batch_{};  // totals of the last batch
  bool merged_ = false;
};

}  // namespace sluice
