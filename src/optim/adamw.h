// AdamW over a model's flat buffers, with decay switched off by parameter name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/run_config.h"
#include "ops/adamw.h"
#include "ops/execution_context.h"
#include "runtime/parameter.h"

namespace sluice {

// Whether a parameter of this name decays: no part of it is in config.no_decay.
bool Decays(const OptimizerConfig& config, const std::string& name);

class AdamWOptimizer {
 public:
  // Reserves m and v, fp32, in the order of the parameters, and what else updates need.
  AdamWOptimizer(const OptimizerConfig& config, const ParameterStore& parameters,
                 ExecutionContext& context, Arena& arena);
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
    const double* loss;        // memory of the device
    UpdateDecision* decision;  // memory of the device, overwritten
  };
  absl::Status ClipAndUpdate(ExecutionContext& context, const ParameterStore& parameters,
                             const ClippedUpdate& update);

  // That the last one was skipped, once that is known: it does not count.
  void Skipped() { --updates_; }

  int64_t updates() const { return updates_; }               // made: t of the last one
  void set_updates(int64_t updates) { updates_ = updates; }  // when resuming

  // First and second moments, (flat_elements): to save and restore.
  TensorView first_moment() const { return *m_; }
  TensorView second_moment() const { return *v_; }
  // The part of a moment that belongs to parameter `index`.
  static TensorView SliceOf(const TensorView& moment, const Parameter& parameter);

 private:
  ops::AdamW Call(const ParameterStore& parameters, double learning_rate, double gradient_scale);

  OptimizerConfig config_;
  std::vector<AdamWSegment> segments_;
  const TensorView* device_segments_;  // the same, as bytes
  const TensorView* m_;
  const TensorView* v_;
  int64_t updates_ = 0;
};

}  // namespace sluice
