// A batch where the device reads it: what the host hands over at the beginning of a pass.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "data/batch.h"
#include "model/model_build.h"

namespace sluice {

class DeviceBatch {
 public:
  // Plans. `segments`: whether the model has token types.
  DeviceBatch(const ModelBuild& build, bool segments);

  // Copies what the layers read of `batch`, which may change on return. Lengths and documents
  // become those of the rows that attention sees, registers included.
  absl::Status Load(ExecutionContext& context, const Batch& batch);

  // Of the batch loaded last; null where it has none.
  const TensorView& tokens() const { return tokens_; }              // (B, T) int32
  const TensorView& segments() const { return segments_; }          // (B, T) int32
  const TensorView& lengths() const { return lengths_; }            // (B) int32
  const TensorView& documents() const { return documents_; }        // (B, R + T) int32
  const TensorView& sample_index() const { return sample_index_; }  // (B) int64

 private:
  int64_t registers_;  // R
  // For the largest batch.
  const TensorView *all_tokens_, *all_segments_, *all_lengths_, *all_documents_, *all_sample_index_;
  TensorView tokens_, segments_, lengths_, documents_, sample_index_;
  std::vector<int32_t> row_lengths_, row_documents_;  // on the host
};

}  // namespace sluice
