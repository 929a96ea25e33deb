#include "optim/update_norms.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/elementwise.h"

namespace sluice {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 20;  // of a stretch

}  // namespace

UpdateNorms::UpdateNorms(const OptimizerConfig& config, const ParameterStore& parameters,
                         Arena& arena)
    : parameters_(parameters) {
  int64_t longest = 0;
  for (int64_t index = 0; index < std::ssize(parameters.parameters()); ++index) {
    const Parameter& parameter = parameters.parameters()[index];
    const float decay =
        Decays(config, parameter.name) ? static_cast<float>(config.weight_decay) : 0;
    for (int64_t begin = 0; begin < parameter.elements(); begin += kMostElements) {
      const int64_t count = std::min(kMostElements, parameter.elements() - begin);
      stretches_.push_back({index, parameter.offset + begin, count});
      segments_.push_back({0, count, decay});
      longest = std::max(longest, count);
    }
  }
  before_ = arena.Reserve("weights before an update", MemoryPurpose::kScratch, DType::kFloat32,
                          {longest});
  sums_ = arena.Reserve("norms of parameters", MemoryPurpose::kScratch, DType::kFloat64,
                        {std::ssize(stretches_) * kSums});
  const auto bytes = static_cast<int64_t>(segments_.size() * sizeof(UpdateSegment));
  device_segments_ = arena.Reserve("segments of parameters", MemoryPurpose::kScratch, DType::kInt64,
                                   {CeilDiv(bytes, 8)});
}

absl::Status UpdateNorms::Bind(ExecutionContext& context) {
  return context.device().CopyToDevice(
      device_segments_->data(), segments_.data(),
      static_cast<int64_t>(segments_.size() * sizeof(UpdateSegment)));
}

absl::Status UpdateNorms::Run(ExecutionContext& context,
                              absl::FunctionRef<absl::Status(const UpdatePart& part)> apply) {
  const auto* segments = static_cast<const UpdateSegment*>(device_segments_->data());
  for (int64_t k = 0; k < std::ssize(stretches_); ++k) {
    const Stretch& stretch = stretches_[k];
    const TensorView gradient = parameters_.flat_gradient().Columns(stretch.begin, stretch.count);
    const TensorView master = parameters_.flat_master().Columns(stretch.begin, stretch.count);
    const TensorView before = before_->Prefix({1, stretch.count});
    double* sums = sums_->as<double>() + k * kSums;
    RETURN_IF_ERROR(ops::Run(context, {.x = gradient, .sum = sums + kGradient}));
    RETURN_IF_ERROR(ops::Copy(context, master, before));
    RETURN_IF_ERROR(apply({stretch.begin, stretch.count, {segments + k, 1}}));
    RETURN_IF_ERROR(ops::Run(context, {.x = master, .minus = before, .sum = sums + kUpdate}));
    RETURN_IF_ERROR(ops::Run(context, {.x = master, .sum = sums + kWeight}));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ParameterNorms>> UpdateNorms::Read(Device& device,
                                                              double gradient_scale) const {
  std::vector<double> sums(sums_->elements());
  RETURN_IF_ERROR(device.CopyToHost(sums.data(), sums_->data(), sums_->bytes()));
  std::vector<ParameterNorms> norms(parameters_.parameters().size());
  for (size_t k = 0; k < stretches_.size(); ++k) {
    ParameterNorms& of = norms[stretches_[k].parameter];
    of.gradient += sums[k * kSums + kGradient];
    of.update += sums[k * kSums + kUpdate];
    of.weight += sums[k * kSums + kWeight];
  }
  for (size_t index = 0; index < norms.size(); ++index) {
    ParameterNorms& of = norms[index];
    of.parameter = parameters_.parameters()[index].name;
    of.gradient = std::sqrt(of.gradient) * gradient_scale;
    of.update = std::sqrt(of.update);
    of.weight = std::sqrt(of.weight);
  }
  return norms;
}

}  // namespace sluice
