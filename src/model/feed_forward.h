// The feed-forward part of a layer: y = f(x · W1ᵀ [+ b1]) · W2ᵀ [+ b2], with I = intermediate_size.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "model/projection.h"
#include "ops/activation.h"

namespace sluice {

struct FeedForwardConfig {
  int64_t hidden_size, intermediate_size;
  Activation activation;
  WeightInitialization initialization;
  bool biases;
};

struct FeedForwardActivations {
  const TensorView* pre_activation;  // (N, I); the activated values' own memory for relu, whose
                                     // gradient can be told from its output
  const TensorView* activated;       // (N, I)
};

class FeedForward {
 public:
  // Adds its parameters under names.up and names.down.
  FeedForward(const ModelBuild& build, const LayerNames& names, int layer,
              const FeedForwardConfig& config);
  static FeedForwardActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                                const FeedForwardConfig& config);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // x (N, C) → y (N, C), overwritten.
  absl::Status Forward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                       const FeedForwardActivations& saved, const TensorView& y);

  struct BackwardCall {
    TensorView x, dy;       // (N, C)
    TensorView dactivated;  // (N, I), scratch
    TensorView dx;          // (N, C)
    bool accumulate;        // dx is added to; false: overwritten
  };
  absl::Status Backward(ExecutionContext& context, const FeedForwardActivations& saved,
                        const BackwardCall& call);

 private:
  FeedForwardConfig config_;
  int layer_;
  Projection up_, down_;
};

}  // namespace sluice
