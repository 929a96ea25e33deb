#include "model/device_batch.h"

#include <algorithm>
#include <span>

#include "core/check.h"
#include "core/status.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

// Puts `values` at the beginning of `all`; `loaded` becomes them, or null when there are none.
template <typename T>
absl::Status LoadValues(ExecutionContext& context, const std::vector<T>& values, const Shape& shape,
                        const TensorView& all, TensorView& loaded) {
  loaded = TensorView();
  if (values.empty()) return absl::OkStatus();
  CHECK_EQ(std::ssize(values), shape.elements());
  loaded = all.Prefix(shape);
  return CopyValues(context.device(), std::span<const T>(values), loaded);
}

}  // namespace

DeviceBatch::DeviceBatch(const ModelBuild& build, bool segments) : registers_(build.registers) {
  const int64_t B = build.max_batch, T = build.length;
  const auto reserve = [&](absl::string_view name, DType dtype, const Shape& shape) {
    return build.arena.Reserve(name, MemoryPurpose::kScratch, dtype, shape);
  };
  all_tokens_ = reserve("batch.tokens", DType::kInt32, {B, T});
  all_segments_ = segments ? reserve("batch.segments", DType::kInt32, {B, T}) : nullptr;
  all_lengths_ = reserve("batch.lengths", DType::kInt32, {B});
  all_documents_ = reserve("batch.documents", DType::kInt32, {B, build.row_length()});
  all_sample_index_ = reserve("batch.sample_index", DType::kInt64, {B});
}

absl::Status DeviceBatch::Load(ExecutionContext& context, const Batch& batch) {
  const int64_t R = registers_, B = batch.B, T = batch.T;
  row_lengths_.resize(batch.lengths.size());
  for (size_t b = 0; b < batch.lengths.size(); ++b) {
    row_lengths_[b] = batch.lengths[b] + static_cast<int32_t>(R);
  }
  row_documents_.resize(batch.documents.empty() ? 0 : B * (R + T));
  for (int64_t b = 0; b < B && !batch.documents.empty(); ++b) {
    const auto row = row_documents_.begin() + b * (R + T);
    const auto documents = batch.documents.begin() + b * T;
    std::fill_n(row, R, documents[0]);
    std::copy_n(documents, T, row + R);
  }
  RETURN_IF_ERROR(LoadValues(context, batch.tokens, {B, T}, *all_tokens_, tokens_));
  if (all_segments_ != nullptr) {
    RETURN_IF_ERROR(LoadValues(context, batch.segments, {B, T}, *all_segments_, segments_));
  }
  RETURN_IF_ERROR(LoadValues(context, row_lengths_, {B}, *all_lengths_, lengths_));
  RETURN_IF_ERROR(LoadValues(context, row_documents_, {B, R + T}, *all_documents_, documents_));
  return LoadValues(context, batch.sample_index, {B}, *all_sample_index_, sample_index_);
}

}  // namespace sluice
