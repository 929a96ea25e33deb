// A batch where the device reads it: what the host hands over at the beginning of a pass. There are
// two places, so that the next batch is copied into one, in a stream of its own, while kernels read
// the other:
//
//   RETURN_IF_ERROR(batch.Load(context, current));      already there, if it was prefetched
//   …  kernels that read batch.tokens() …
//   RETURN_IF_ERROR(batch.Prefetch(context, next));     returns at once
//   RETURN_IF_ERROR(batch.Load(context, next));
#pragma once

#include <array>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "data/batch.h"
#include "model/model_build.h"

namespace sluice {

// Rows of targets are padded to a multiple of this: few distinct sizes, few GEMM primitives.
constexpr int64_t kTargetRowMultiple = 64;

class DeviceBatch {
 public:
  // Plans. `segments`: whether the model has token types.
  DeviceBatch(const ModelBuild& build, bool segments);

  // Copies what the layers read of `batch`, which may change on return, and makes the kernels that
  // follow wait for it. Lengths and documents become those of the rows that attention sees,
  // registers included. Kernels may read the batch loaded before until then, not after.
  absl::Status Load(ExecutionContext& context, const Batch& batch);

  // Begins to copy a batch that is likely to be loaded next. It stays where and as it is until it
  // or another one is loaded; then the copy is used, or dropped.
  absl::Status Prefetch(ExecutionContext& context, const Batch& batch);

  // Of the batch loaded last; null where it has none.
  const TensorView& tokens() const { return current().tokens; }              // (B, T) int32
  const TensorView& segments() const { return current().segments; }          // (B, T) int32
  const TensorView& lengths() const { return current().lengths; }            // (B) int32
  const TensorView& documents() const { return current().documents; }        // (B, R + T) int32
  const TensorView& sample_index() const { return current().sample_index; }  // (B) int64
  // Rows of hidden states that are targets and the ids asked for there, (M) int32; M is padded to a
  // multiple of kTargetRowMultiple, with -1. Null without targets.
  const TensorView& target_rows() const { return current().target_rows; }
  const TensorView& targets() const { return current().targets; }
  const TensorView& next_sentence_labels() const {  // (B) int32
    return current().next_sentence_labels;
  }

 private:
  struct Place {
    // For the largest batch.
    const TensorView *all_tokens, *all_segments, *all_lengths, *all_documents, *all_sample_index,
        *all_target_rows, *all_targets, *all_labels;
    TensorView tokens, segments, lengths, documents, sample_index, target_rows, targets,
        next_sentence_labels;
  };
  static Place Plan(const ModelBuild& build, bool segments, int index);
  const Place& current() const { return places_[current_]; }
  // Into the place that is not the current one.
  absl::Status CopyAhead(ExecutionContext& context, const Batch& batch);
  absl::Status CopyInto(Device& device, const Batch& batch, Place& place);
  void PrepareRows(const Batch& batch);

  int64_t registers_;  // R
  std::array<Place, 2> places_;
  int current_ = 0;
  const Batch* ahead_ = nullptr;  // what the other place holds, or null
  // On the host, of the batch that is being copied.
  std::vector<int32_t> row_lengths_, row_documents_, target_rows_, targets_;
};

}  // namespace sluice
