#include "optim/adamw.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/adamw.h"

namespace sluice {

bool Decays(const OptimizerConfig& config, const std::string& name) {
  return std::none_of(config.no_decay.begin(), config.no_decay.end(),
                      [&](const std::string& part) { return absl::StrContains(name, part); });
}

AdamWOptimizer::AdamWOptimizer(const OptimizerConfig& config, const ParameterStore& parameters,
                               ExecutionContext& context, Arena& arena)
    : config_(config) {
  for (const Parameter& parameter : parameters.parameters()) {
    const float decay =
        Decays(config, parameter.name) ? static_cast<float>(config.weight_decay) : 0;
    const int64_t begin = parameter.offset, end = parameter.offset + parameter.elements();
    if (!segments_.empty() && segments_.back().end == begin &&
        segments_.back().weight_decay == decay) {
      segments_.back().end = end;
    } else {
      segments_.push_back({begin, end, decay});
    }
  }
  const DType wide = parameters.flat_master_dtype();
  m_ = arena.Reserve("first moment", MemoryPurpose::kOptimizerState, wide,
                     {parameters.flat_elements()});
  v_ = arena.Reserve("second moment", MemoryPurpose::kOptimizerState, wide,
                     {parameters.flat_elements()});
  const auto segment_bytes = static_cast<int64_t>(segments_.size() * sizeof(AdamWSegment));
  device_segments_ = arena.Reserve("optimizer segments", MemoryPurpose::kScratch, DType::kInt64,
                                   {CeilDiv(segment_bytes, 8)});
  ops::PlanAdamW(context);
}

absl::Status AdamWOptimizer::Bind(ExecutionContext& context) {
  return context.device().CopyToDevice(
      device_segments_->data(), segments_.data(),
      static_cast<int64_t>(segments_.size() * sizeof(AdamWSegment)));
}

ops::AdamW AdamWOptimizer::Call(const ParameterStore& parameters, double learning_rate,
                                double gradient_scale) {
  ++updates_;
  return {
      .master = parameters.flat_master(),
      .gradient = parameters.flat_gradient(),
      .m = *m_,
      .v = *v_,
      .working = parameters.flat_working(),
      .segments = {static_cast<const AdamWSegment*>(device_segments_->data()), segments_.size()},
      .gradient_scale = gradient_scale,
      .learning_rate = static_cast<float>(learning_rate),
      .beta1 = static_cast<float>(config_.beta1),
      .beta2 = static_cast<float>(config_.beta2),
      .eps = static_cast<float>(config_.eps),
      .t = updates_};
}

absl::Status AdamWOptimizer::Update(ExecutionContext& context, const ParameterStore& parameters,
                                    double learning_rate, double gradient_scale) {
  return ops::Run(context, Call(parameters, learning_rate, gradient_scale));
}

absl::Status AdamWOptimizer::ClipAndUpdate(ExecutionContext& context,
                                           const ParameterStore& parameters,
                                           const ClippedUpdate& update) {
  RETURN_IF_ERROR(ops::Run(context, ops::UpdateDecisionCall{.gradient = parameters.flat_gradient(),
                                                            .loss = update.loss,
                                                            .gradient_scale = update.gradient_scale,
                                                            .max_norm = config_.max_grad_norm,
                                                            .decision = update.decision}));
  ops::AdamW call = Call(parameters, update.learning_rate, update.gradient_scale);
  call.decision = update.decision;
  return ops::Run(context, call);
}

TensorView AdamWOptimizer::SliceOf(const TensorView& moment, const Parameter& parameter) {
  return TensorView(static_cast<char*>(moment.data()) + parameter.offset * SizeOf(moment.dtype()),
                    moment.dtype(), parameter.shape);
}

}  // namespace sluice
