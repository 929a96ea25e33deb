#include "train/planned_weights.h"

#include <memory>

#include "core/status.h"
#include "train/engine.h"

namespace sluice {

absl::StatusOr<PlannedWeights> PlannedWeights::Of(const RunConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   Engine::Create(config, {.dtype = DType::kFloat32, .max_batch = 1, .length = 1}));
  PlannedWeights weights;
  for (const Parameter& parameter : engine->parameters().parameters()) {
    weights.weights_.push_back(
        {parameter.name, parameter.shape, std::vector<float>(parameter.elements())});
  }
  return weights;
}

std::vector<std::string> PlannedWeights::Names() const {
  std::vector<std::string> names;
  for (const Weight& weight : weights_) names.push_back(weight.name);
  return names;
}

int64_t PlannedWeights::elements() const {
  int64_t sum = 0;
  for (const Weight& weight : weights_) sum += weight.shape.elements();
  return sum;
}

std::vector<TensorDestination> PlannedWeights::Destinations() {
  std::vector<TensorDestination> destinations;
  for (Weight& weight : weights_) {
    destinations.push_back({weight.name, weight.shape, weight.values});
  }
  return destinations;
}

std::vector<NamedTensor> PlannedWeights::Tensors() const {
  std::vector<NamedTensor> tensors;
  for (const Weight& weight : weights_) {
    tensors.push_back({weight.name, weight.shape, weight.values});
  }
  return tensors;
}

}  // namespace sluice
