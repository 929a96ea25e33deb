#include "ops/integer_linear.h"

#include "core/check.h"
#include "kernels/api/integer_linear.h"

namespace sluice::ops {

static_assert(IntegerLinear::kMaxInFeatures == kIntegerLinearMaxInner);

IntegerLinear::IntegerLinear(const Weight& weight, const Input& input)
    : in_features_(weight.in_features),
      out_features_(static_cast<int64_t>(weight.scales.size())),
      input_(input) {
  CHECK_EQ(static_cast<int64_t>(weight.codes.size()), in_features_ * out_features_);
  const int64_t copies = cpu::IntegerWeightCopies();
  weight_.reserve(weight.codes.size() * copies);
  for (int64_t m = 0; m < out_features_; ++m) {
    const auto row = weight.codes.begin() + m * in_features_;
    int32_t sum = 0;
    for (int64_t k = 0; k < in_features_; ++k) sum += row[k];
    offset_.push_back(input.zero_point * sum);
    scales_.push_back(input.scale * weight.scales[m]);
    for (int64_t copy = 0; copy < copies; ++copy) {
      weight_.insert(weight_.end(), row, row + in_features_);
    }
  }
}

absl::Status IntegerLinear::Forward(ExecutionContext& context, const TensorView& x,
                                    const TensorView& bias, const TensorView& y) const {
  CHECK(!context.on_cuda()) << "integer products run on the CPU";
  CHECK_EQ(x.dim(-1), in_features_);
  CHECK_EQ(y.dim(-1), out_features_);
  CHECK_EQ(x.rows(), y.rows());
  const OpTimer timer(context, "integer linear");
  return cpu::IntegerLinear(context.linear_cache(), {.x = x.as<float>(),
                                                     .x_scale = input_.scale,
                                                     .x_zero_point = input_.zero_point,
                                                     .weight = weight_.data(),
                                                     .offset = offset_.data(),
                                                     .scales = scales_.data(),
                                                     .bias = bias.as<float>(),
                                                     .y = y.as<float>(),
                                                     .N = x.rows(),
                                                     .K = in_features_,
                                                     .M = out_features_,
                                                     .x_stride = x.row_stride(),
                                                     .y_stride = y.row_stride()});
}

}  // namespace sluice::ops
