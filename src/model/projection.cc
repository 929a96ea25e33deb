#include "model/projection.h"

namespace sluice {

void Projection::Add(const ModelBuild& build, const std::string& name, int64_t rows,
                     const Config& config) {
  const int64_t K = config.in_features, M = config.out_features;
  weight_ = build.parameters.Add(name + ".weight", {M, K}, config.initialization.Weight(K));
  if (config.bias) {
    bias_ = build.parameters.Add(name + ".bias", {M}, config.initialization.Bias(K));
  }
  Plan(build.context, build.arena, name, build.dtype, {rows, K, M}, build.train);
}

void Projection::Bind(const ParameterStore& parameters) {
  const bool has_bias = bias_ >= 0;
  Linear::Bind({.weight = parameters.Working(weight_),
                .bias = has_bias ? parameters.Working(bias_) : TensorView(),
                .weight_gradient = parameters.Gradient(weight_),
                .bias_gradient = has_bias ? parameters.Gradient(bias_) : TensorView()});
}

}  // namespace sluice
