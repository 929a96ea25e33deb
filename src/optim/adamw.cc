#include "optim/adamw.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "ops/adamw.h"

namespace sluice {

bool Decays(const OptimizerConfig& config, const std::string& name) {
  return std::none_of(config.no_decay.begin(), config.no_decay.end(),
                      [&](const std::string& part) { return absl::StrContains(name, part); });
}

AdamWOptimizer::AdamWOptimizer(const OptimizerConfig& config, const ParameterStore& parameters,
                               Arena& arena)
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
}

absl::Status AdamWOptimizer::Update(ExecutionContext& context, const ParameterStore& parameters,
                                    double learning_rate, double gradient_scale) {
  ++updates_;
  return ops::Run(context, ops::AdamW{.master = parameters.flat_master(),
                                      .gradient = parameters.flat_gradient(),
                                      .m = *m_,
                                      .v = *v_,
                                      .working = parameters.flat_working(),
                                      .segments = segments_,
                                      .gradient_scale = static_cast<float>(gradient_scale),
                                      .learning_rate = static_cast<float>(learning_rate),
                                      .beta1 = static_cast<float>(config_.beta1),
                                      .beta2 = static_cast<float>(config_.beta2),
                                      .eps = static_cast<float>(config_.eps),
                                      .t = updates_});
}

TensorView AdamWOptimizer::SliceOf(const TensorView& moment, const Parameter& parameter) {
  return TensorView(static_cast<char*>(moment.data()) + parameter.offset * SizeOf(moment.dtype()),
                    moment.dtype(), parameter.shape);
}

double ClippingCoefficient(double norm, double max_norm) {
  if (max_norm <= 0) return 1;
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace sluice
