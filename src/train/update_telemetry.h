// What a run looks at in some of its updates, beside the gates: outliers in activations and norms
// of parameters, each at its interval. Between two looks it does nothing, and nothing is waited
// for.
//
//   UpdateTelemetry telemetry(config, engine, communicator);     before the arena is made
//   RETURN_IF_ERROR(telemetry.Start());                          behind it
//   telemetry.BeginUpdate(step);                                 then for each micro-batch
//   … forward with telemetry.Watch(observer) as its observer …
//   … engine.ClipAndUpdate(…, telemetry.norms()) …
//   ASSIGN_OR_RETURN(const auto records, telemetry.Collect(gradient_scale));
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "config/run_config.h"
#include "optim/update_norms.h"
#include "telemetry/activation_telemetry.h"
#include "telemetry/metric_writer.h"
#include "train/engine.h"

namespace sluice {

class UpdateTelemetry {
 public:
  // Plans memory in the engine's arena.
  UpdateTelemetry(const RunConfig& config, Engine& engine, Communicator& communicator);
  absl::Status Start();

  // `step`: number of the update, counted from 1.
  void BeginUpdate(int64_t step);
  // The next micro-batch's observer: `other` (may be null), with what is looked at here.
  Observer* Watch(Observer* other);
  // Null: not in this update.
  UpdateNorms* norms();
  // Whether this update is looked at.
  bool due() { return activations_.Due(step_) || norms() != nullptr; }

  // Behind the update, whose gradient was multiplied by gradient_scale: what it has to record, by
  // event, on rank 0; nothing on the others. Collective. Fails on every rank when it fails on one.
  using Record = std::pair<std::string, MetricFields>;
  absl::StatusOr<std::vector<Record>> Collect(double gradient_scale);

 private:
  Engine& engine_;
  Communicator& communicator_;
  const int64_t norms_every_;
  ActivationTelemetry activations_;
  std::optional<UpdateNorms> norms_;
  std::optional<ObserverChain> chain_;
  int64_t step_ = 0, part_ = 0;
};

// Fields of the record `norms`: gradient.PARAMETER, update.PARAMETER, weight.PARAMETER.
MetricFields NormFields(int64_t step, const std::vector<ParameterNorms>& norms);

}  // namespace sluice
