// Update rules over a model's flat buffers, with decay switched off by parameter name: AdamW
// (kernels/api/adamw.h) and SGD with momentum (kernels/api/sgd.h).
//
//   auto optimizer = MakeOptimizer(config.optimizer, parameters, context, arena);   before the
//   arena is allocated RETURN_IF_ERROR(optimizer->Bind(context)); behind it
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/run_config.h"
#include "ops/execution_context.h"
#include "ops/update_decision.h"
#include "runtime/parameter.h"

namespace sluice {

// Whether a parameter of this name decays: no part of it is in config.no_decay.
bool Decays(const OptimizerConfig& config, const std::string& name);

// State of an optimizer: one value a parameter, (flat_elements), accumulator dtype.
struct OptimizerMoment {
  std::string name;  // as checkpoints have it, before "/" and the parameter's name
  const TensorView* values;
};

class UpdateNorms;

// Elements [begin, begin + count) of the flat buffers, and their segments, which count from
// `begin`, in memory of the device.
struct UpdatePart {
  int64_t begin, count;
  std::span<const UpdateSegment> segments;
};

class Optimizer {
 public:
  // Where an optimizer is made: before the arena is allocated.
  struct Place {
    const ParameterStore& parameters;
    ExecutionContext& context;
    Arena& arena;
  };

  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // After the arena has been allocated.
  absl::Status Bind(ExecutionContext& context);

  // One update of master and working weights from the flat gradient times gradient_scale; zeroes
  // the gradient.
  absl::Status Update(ExecutionContext& context, const ParameterStore& parameters,
                      double learning_rate, double gradient_scale);

  // The same, the gradient clipped to config.max_grad_norm; weights, moments and gradient stay as
  // they are when the scaled gradient's norm or the loss is not finite. Waits for nothing: what was
  // decided is in *decision.
  struct ClippedUpdate {
    double learning_rate, gradient_scale;
    const double* loss;            // memory of the device
    UpdateDecision* decision;      // memory of the device, overwritten
    UpdateNorms* norms = nullptr;  // measures this update; or null
  };
  absl::Status ClipAndUpdate(ExecutionContext& context, const ParameterStore& parameters,
                             const ClippedUpdate& update);

  // That the last one was skipped, once that is known: it does not count.
  void Skipped() { --updates_; }

  int64_t updates() const { return updates_; }               // made: t of the last one
  void set_updates(int64_t updates) { updates_ = updates; }  // when resuming

  // To save and restore.
  const std::vector<OptimizerMoment>& moments() const { return moments_; }
  // The part of a moment that belongs to `parameter`.
  static TensorView SliceOf(const TensorView& moment, const Parameter& parameter);

 protected:
  // Reserves moments of these names, in the order of the parameters, and what else updates need.
  Optimizer(const OptimizerConfig& config, const std::vector<std::string>& moments,
            const Place& place);

  // A part of one update, the updates() th; decision: memory of the device, or null: neither clips
  // nor skips.
  struct Step {
    double learning_rate, gradient_scale;
    const UpdateDecision* decision;
  };
  virtual absl::Status Apply(ExecutionContext& context, const ParameterStore& parameters,
                             const Step& step, const UpdatePart& part) = 0;

  const OptimizerConfig& config() const { return config_; }
  TensorView moment(int index, const UpdatePart& part) const {
    return PartOf(*moments_[index].values, part);
  }
  static TensorView PartOf(const TensorView& flat, const UpdatePart& part) {
    return flat.Columns(part.begin, part.count);
  }

 private:
  UpdatePart Whole(const ParameterStore& parameters) const {
    return {0,
            parameters.flat_elements(),
            {static_cast<const UpdateSegment*>(device_segments_->data()), segments_.size()}};
  }

  OptimizerConfig config_;
  std::vector<UpdateSegment> segments_;
  const TensorView* device_segments_;  // the same, as bytes
  std::vector<OptimizerMoment> moments_;
  int64_t updates_ = 0;
};

// The rule of config.name.
std::unique_ptr<Optimizer> MakeOptimizer(const OptimizerConfig& config,
                                         const ParameterStore& parameters,
                                         ExecutionContext& context, Arena& arena);

}  // namespace sluice
