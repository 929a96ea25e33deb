#include "ops/block_linear.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/status.h"

namespace sluice::ops {
namespace {

// Elements [first, first + count) of a vector; null of null.
TensorView Slice(const TensorView& vector, int64_t first, int64_t count) {
  if (vector.null()) return {};
  char* data = static_cast<char*>(vector.data()) + first * SizeOf(vector.dtype());
  return TensorView(data, vector.dtype(), {count});
}

TensorView RowsOf(const TensorView& matrix, int64_t first, int64_t count) {
  return matrix.null() ? TensorView() : matrix.Rows(first, count);
}

}  // namespace

void BlockLinear::Plan(ExecutionContext& context, Arena& arena, absl::string_view name, DType dtype,
                       const Dims& dims, bool train) {
  in_features_ = dims.in_features;
  out_features_ = dims.out_features;
  blocks_ = std::vector<Linear>(dims.blocks);
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const std::string block = dims.blocks > 1 ? absl::StrCat(name, ".", b) : std::string(name);
    blocks_[b].Plan(context, arena, block, dtype, {dims.rows, in_features_, out_features_}, train);
  }
}

void BlockLinear::Bind(const Linear::Parameters& parameters) {
  const int64_t blocks = std::ssize(blocks_);
  CHECK_EQ(parameters.weight.dim(0), blocks * out_features_);
  CHECK_EQ(parameters.weight.dim(1), in_features_);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = b * out_features_;
    blocks_[b].Bind({.weight = parameters.weight.Rows(first, out_features_),
                     .bias = Slice(parameters.bias, first, out_features_),
                     .weight_gradient = RowsOf(parameters.weight_gradient, first, out_features_),
                     .bias_gradient = Slice(parameters.bias_gradient, first, out_features_)});
  }
}

void BlockLinear::WeightsChanged() {
  for (Linear& block : blocks_) block.WeightsChanged();
}

absl::Status BlockLinear::Forward(ExecutionContext& context, const TensorView& x,
                                  const TensorView& y) {
  CHECK_EQ(x.dim(-1), std::ssize(blocks_) * in_features_);
  CHECK_EQ(y.dim(-1), std::ssize(blocks_) * out_features_);
  for (int64_t b = 0; b < std::ssize(blocks_); ++b) {
    RETURN_IF_ERROR(blocks_[b].Forward(context, x.Columns(b * in_features_, in_features_),
                                       y.Columns(b * out_features_, out_features_)));
  }
  return absl::OkStatus();
}

absl::Status BlockLinear::ForwardLogits(ExecutionContext& context, const TensorView& x,
                                        const TensorView& logits) {
  CHECK_EQ(x.dim(-1), std::ssize(blocks_) * in_features_);
  CHECK_EQ(logits.dim(-1), std::ssize(blocks_) * out_features_);
  for (int64_t b = 0; b < std::ssize(blocks_); ++b) {
    RETURN_IF_ERROR(blocks_[b].ForwardLogits(context, x.Columns(b * in_features_, in_features_),
                                             logits.Columns(b * out_features_, out_features_)));
  }
  return absl::OkStatus();
}

absl::Status BlockLinear::Backward(ExecutionContext& context, const TensorView& x,
                                   const TensorView& dy, const TensorView& dx) {
  CHECK_EQ(dx.shape(), x.shape());
  CHECK_EQ(dy.dim(-1), std::ssize(blocks_) * out_features_);
  for (int64_t b = 0; b < std::ssize(blocks_); ++b) {
    const int64_t first = b * in_features_;
    const TensorView dblock = dy.Columns(b * out_features_, out_features_);
    RETURN_IF_ERROR(blocks_[b].BackwardWeight(context, x.Columns(first, in_features_), dblock));
    RETURN_IF_ERROR(blocks_[b].BackwardInput(context, dblock, dx.Columns(first, in_features_),
                                             /*accumulate=*/true));
  }
  return absl::OkStatus();
}

}  // namespace sluice::ops
