// The feed-forward part of a block: y = f(x · W1ᵀ + b1) · W2ᵀ + b2, with I = intermediate_size.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_build.h"
#include "ops/activation.h"
#include "ops/linear.h"

namespace sluice {

struct FeedForwardConfig {
  int64_t hidden_size, intermediate_size;
  Activation activation;
  InitialValues weight;
};

struct FeedForwardActivations {
  const TensorView* pre_activation;  // (N, I)
  const TensorView* activated;       // (N, I)
};

class FeedForward {
 public:
  // Adds its parameters; `name` is e.g. "bert.encoder.layer.0".
  FeedForward(const ModelBuild& build, const std::string& name, const FeedForwardConfig& config);
  static FeedForwardActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                                const FeedForwardConfig& config);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // x (N, C) → y (N, C), overwritten.
  absl::Status Forward(ExecutionContext& context, const TensorView& x,
                       const FeedForwardActivations& saved, const TensorView& y);
  // dy (N, C); dx (N, C) is ADDED to; dactivated is scratch of shape (N, I).
  absl::Status Backward(ExecutionContext& context, const TensorView& x,
                        const FeedForwardActivations& saved, const TensorView& dy,
                        const TensorView& dactivated, const TensorView& dx);

 private:
  FeedForwardConfig config_;
  int up_weight_, up_bias_, down_weight_, down_bias_;
  ops::Linear up_, down_;
};

}  // namespace sluice
