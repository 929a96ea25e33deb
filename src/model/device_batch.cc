#include "model/device_batch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {

// Puts `values` at the beginning of `all`; `loaded` becomes them, or null when there are none.
template <typename T>
absl::Status CopyValuesAhead(Device& device, const std::vector<T>& values, const Shape& shape,
                             const TensorView& all, TensorView& loaded) {
  loaded = TensorView();
  if (values.empty()) return absl::OkStatus();
  CHECK_EQ(std::ssize(values), shape.elements());
  CHECK_LE(shape.elements(), all.elements());
  loaded = all.Prefix(shape);
  return device.CopyAhead(loaded.data(), values.data(), loaded.bytes());
}

}  // namespace

DeviceBatch::DeviceBatch(const ModelBuild& build, bool segments)
    : registers_(build.registers), places_{Plan(build, segments, 0), Plan(build, segments, 1)} {}

DeviceBatch::Place DeviceBatch::Plan(const ModelBuild& build, bool segments, int index) {
  const int64_t B = build.max_batch, T = build.length;
  const auto reserve = [&](absl::string_view part, DType dtype, const Shape& shape) {
    return build.arena.Reserve(absl::StrCat("batch.", index, ".", part), MemoryPurpose::kScratch,
                               dtype, shape);
  };
  const int64_t M = RoundUp(B * T, kTargetRowMultiple);
  Place place = {};
  place.all_tokens = reserve("tokens", DType::kInt32, {B, T});
  place.all_segments = segments ? reserve("segments", DType::kInt32, {B, T}) : nullptr;
  place.all_lengths = reserve("lengths", DType::kInt32, {B});
  place.all_documents = reserve("documents", DType::kInt32, {B, build.row_length()});
  place.all_sample_index = reserve("sample_index", DType::kInt64, {B});
  place.all_target_rows = reserve("target_rows", DType::kInt32, {M});
  place.all_targets = reserve("targets", DType::kInt32, {M});
  place.all_labels = reserve("next_sentence_labels", DType::kInt32, {B});
  return place;
}

absl::Status DeviceBatch::Load(ExecutionContext& context, const Batch& batch) {
  if (ahead_ != &batch) RETURN_IF_ERROR(CopyAhead(context, batch));
  ahead_ = nullptr;
  RETURN_IF_ERROR(context.device().EndUse(current_));
  current_ = 1 - current_;
  return context.device().BeginUse(current_);
}

absl::Status DeviceBatch::Prefetch(ExecutionContext& context, const Batch& batch) {
  RETURN_IF_ERROR(CopyAhead(context, batch));
  ahead_ = &batch;
  return absl::OkStatus();
}

absl::Status DeviceBatch::CopyAhead(ExecutionContext& context, const Batch& batch) {
  ahead_ = nullptr;
  PrepareRows(batch);
  const int other = 1 - current_;
  RETURN_IF_ERROR(context.device().BeginCopies(other));
  RETURN_IF_ERROR(CopyInto(context.device(), batch, places_[other]));
  return context.device().EndCopies(other);
}

// What the batch has by token becomes what attention and the heads have by row.
void DeviceBatch::PrepareRows(const Batch& batch) {
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
  CHECK_EQ(batch.target_positions.size(), batch.targets.size());
  const int64_t M = RoundUp(std::ssize(batch.targets), kTargetRowMultiple);
  const ForwardPass rows = {.B = B, .T = R + T, .registers = R, .mask = {}};
  target_rows_.assign(M, -1);
  std::transform(batch.target_positions.begin(), batch.target_positions.end(), target_rows_.begin(),
                 [&](int32_t token) { return static_cast<int32_t>(rows.RowOfToken(token)); });
  targets_.assign(M, -1);
  std::copy(batch.targets.begin(), batch.targets.end(), targets_.begin());
}

absl::Status DeviceBatch::CopyInto(Device& device, const Batch& batch, Place& place) {
  const int64_t R = registers_, B = batch.B, T = batch.T, M = std::ssize(targets_);
  const auto copy = [&](const auto& values, const Shape& shape, const TensorView* all,
                        TensorView& loaded) {
    return CopyValuesAhead(device, values, shape, *all, loaded);
  };
  RETURN_IF_ERROR(copy(batch.tokens, {B, T}, place.all_tokens, place.tokens));
  if (place.all_segments != nullptr) {
    RETURN_IF_ERROR(copy(batch.segments, {B, T}, place.all_segments, place.segments));
  }
  RETURN_IF_ERROR(copy(row_lengths_, {B}, place.all_lengths, place.lengths));
  RETURN_IF_ERROR(copy(row_documents_, {B, R + T}, place.all_documents, place.documents));
  RETURN_IF_ERROR(copy(batch.sample_index, {B}, place.all_sample_index, place.sample_index));
  RETURN_IF_ERROR(copy(target_rows_, {M}, place.all_target_rows, place.target_rows));
  RETURN_IF_ERROR(copy(targets_, {M}, place.all_targets, place.targets));
  return copy(batch.next_sentence_labels, {B}, place.all_labels, place.next_sentence_labels);
}

}  // namespace sluice
