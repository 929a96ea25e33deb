#include "optim/optimizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/adamw.h"
#include "ops/sgd.h"
#include "ops/update_decision.h"
#include "optim/update_norms.h"

namespace sluice {

bool Decays(const OptimizerConfig& config, const std::string& name) {
  return std::none_of(config.no_decay.begin(), config.no_decay.end(),
                      [&](const std::string& part) { return absl::StrContains(name, part); });
}

Optimizer::Optimizer(const OptimizerConfig& config, const std::vector<std::string>& moments,
                     const Place& place)
    : config_(config) {
  const ParameterStore& parameters = place.parameters;
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
  for (const std::string& name : moments) {
    moments_.push_back(
        {name, place.arena.Reserve(absl::StrCat("optimizer ", name), MemoryPurpose::kOptimizerState,
                                   parameters.flat_master_dtype(), {parameters.flat_elements()})});
  }
  const auto segment_bytes = static_cast<int64_t>(segments_.size() * sizeof(UpdateSegment));
  device_segments_ = place.arena.Reserve("optimizer segments", MemoryPurpose::kScratch,
                                         DType::kInt64, {CeilDiv(segment_bytes, 8)});
  ops::PlanUpdateDecision(place.context);
}

absl::Status Optimizer::Bind(ExecutionContext& context) {
  return context.device().CopyToDevice(
      device_segments_->data(), segments_.data(),
      static_cast<int64_t>(segments_.size() * sizeof(UpdateSegment)));
}

absl::Status Optimizer::Update(ExecutionContext& context, const ParameterStore& parameters,
                               double learning_rate, double gradient_scale) {
  ++updates_;
  return Apply(context, parameters, {learning_rate, gradient_scale, nullptr}, Whole(parameters));
}

absl::Status Optimizer::ClipAndUpdate(ExecutionContext& context, const ParameterStore& parameters,
                                      const ClippedUpdate& update) {
  RETURN_IF_ERROR(ops::Run(context, ops::UpdateDecisionCall{.gradient = parameters.flat_gradient(),
                                                            .loss = update.loss,
                                                            .gradient_scale = update.gradient_scale,
                                                            .max_norm = config_.max_grad_norm,
                                                            .decision = update.decision}));
  ++updates_;
  const Step step = {update.learning_rate, update.gradient_scale, update.decision};
  const auto apply = [&](const UpdatePart& part) { return Apply(context, parameters, step, part); };
  return update.norms == nullptr ? apply(Whole(parameters)) : update.norms->Run(context, apply);
}

TensorView Optimizer::SliceOf(const TensorView& moment, const Parameter& parameter) {
  return TensorView(static_cast<char*>(moment.data()) + parameter.offset * SizeOf(moment.dtype()),
                    moment.dtype(), parameter.shape);
}

namespace {

class AdamWOptimizer : public Optimizer {
 public:
  AdamWOptimizer(const OptimizerConfig& config, const Place& place)
      : Optimizer(config, {"m", "v"}, place) {}

 private:
  absl::Status Apply(ExecutionContext& context, const ParameterStore& parameters, const Step& step,
                     const UpdatePart& part) override {
    return ops::Run(context, ops::AdamW{.master = PartOf(parameters.flat_master(), part),
                                        .gradient = PartOf(parameters.flat_gradient(), part),
                                        .m = moment(0, part),
                                        .v = moment(1, part),
                                        .working = PartOf(parameters.flat_working(), part),
                                        .segments = part.segments,
                                        .gradient_scale = step.gradient_scale,
                                        .decision = step.decision,
                                        .learning_rate = static_cast<float>(step.learning_rate),
                                        .beta1 = static_cast<float>(config().beta1),
                                        .beta2 = static_cast<float>(config().beta2),
                                        .eps = static_cast<float>(config().eps),
                                        .t = updates()});
  }
};

class SgdOptimizer : public Optimizer {
 public:
  SgdOptimizer(const OptimizerConfig& config, const Place& place)
      : Optimizer(config, {"momentum"}, place) {}

 private:
  absl::Status Apply(ExecutionContext& context, const ParameterStore& parameters, const Step& step,
                     const UpdatePart& part) override {
    return ops::Run(context, ops::Sgd{.master = PartOf(parameters.flat_master(), part),
                                      .gradient = PartOf(parameters.flat_gradient(), part),
                                      .momentum_buffer = moment(0, part),
                                      .working = PartOf(parameters.flat_working(), part),
                                      .segments = part.segments,
                                      .gradient_scale = step.gradient_scale,
                                      .decision = step.decision,
                                      .learning_rate = static_cast<float>(step.learning_rate),
                                      .momentum = static_cast<float>(config().momentum)});
  }
};

}  // namespace

std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerConfig& config,
                                         const ParameterStore& parameters,
                                         ExecutionContext& context, Arena& arena) {
  if (config.name == "sgd") {
    return std::make_unique<SgdOptimizer>(config, Optimizer::Place{parameters, context, arena});
  }
  CHECK(config.name == "adamw");
  return std::make_unique<AdamWOptimizer>(config, Optimizer::Place{parameters, context, arena});
}

}  // namespace sluice
