#include "train/update_telemetry.h"

#include "core/status.h"

namespace sluice {

UpdateTelemetry::UpdateTelemetry(const RunConfig& config, Engine& engine,
                                 Communicator& communicator)
    : engine_(engine),
      communicator_(communicator),
      norms_every_(config.telemetry.norm_statistics_every),
      activations_(config, {.rank = communicator.rank(),
                            .world_size = communicator.world_size(),
                            .micro_batch = engine.options().max_batch}) {
  activations_.Plan(engine.arena());
  if (norms_every_ > 0) norms_.emplace(config.optimizer, engine.parameters(), engine.arena());
}

absl::Status UpdateTelemetry::Start() {
  return norms_.has_value() ? norms_->Bind(engine_.context()) : absl::OkStatus();
}

void UpdateTelemetry::BeginUpdate(int64_t step) {
  step_ = step;
  part_ = 0;
}

Observer* UpdateTelemetry::Watch(Observer* other) {
  const int64_t part = part_++;
  if (!activations_.Due(step_) || !activations_.BeginBatch(part)) return other;
  if (other == nullptr) return &activations_;
  chain_.emplace(*other, activations_);
  return &*chain_;
}

UpdateNorms* UpdateTelemetry::norms() {
  return norms_.has_value() && step_ % norms_every_ == 0 ? &*norms_ : nullptr;
}

absl::StatusOr<std::vector<UpdateTelemetry::Record>> UpdateTelemetry::Collect(
    double gradient_scale) {
  std::vector<Record> records;
  const bool writes = communicator_.rank() == 0;
  if (activations_.Due(step_)) {
    ASSIGN_OR_RETURN(const std::vector<TensorActivations> tensors,
                     activations_.Collect(engine_.device(), communicator_));
    if (writes) records.emplace_back("activations", ActivationFields(step_, tensors));
  }
  if (norms() != nullptr) {
    const auto norms = norms_->Read(engine_.device(), gradient_scale);
    RETURN_IF_ERROR(communicator_.Agree(norms.status()));
    if (writes) records.emplace_back("norms", NormFields(step_, *norms));
  }
  return records;
}

MetricFields NormFields(int64_t step, const std::vector<ParameterNorms>& norms) {
  MetricFields fields = {{"step", step}};
  const auto add = [&](const char* what, double ParameterNorms::*norm) {
    for (const ParameterNorms& of : norms) fields.emplace_back(what + of.parameter, of.*norm);
  };
  add("gradient.", &ParameterNorms::gradient);
  add("update.", &ParameterNorms::update);
  add("weight.", &ParameterNorms::weight);
  return fields;
}

}  // namespace sluice
