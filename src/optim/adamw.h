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
  // Reserves m and v, fp32, in the order of the parameters.
  AdamWOptimizer(const OptimizerConfig& config, const ParameterStore& parameters, Arena& arena);

  // One update of master and working weights from the flat gradient times gradient_scale; zeroes
  // the gradient.
  absl::Status Update(ExecutionContext& context, const ParameterStore& parameters,
                      double learning_rate, double gradient_scale);

  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }  // when resuming

  // First and second moments, (flat_elements): to save and restore.
  TensorView first_moment() const { return *m_; }
  TensorView second_moment() const { return *v_; }
  // The part of a moment that belongs to parameter `index`.
  static TensorView SliceOf(const TensorView& moment, const Parameter& parameter);

 private:
  OptimizerConfig config_;
  std::vector<AdamWSegment> segments_;
  const TensorView* m_;
  const TensorView* v_;
  int64_t updates_ = 0;
};

// What gradients are multiplied by so that their global L2 norm is at most max_norm: 1, or max_norm
// / (norm + 1e-6) as torch.nn.utils.clip_grad_norm_ has it. max_norm 0: no clipping.
double ClippingCoefficient(double norm, double max_norm);

}  // namespace sluice
