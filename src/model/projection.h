// A linear layer of a model with the parameters that belong to it: weight and, where the
// architecture has one, bias.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/architecture.h"
#include "model/model_build.h"
#include "ops/linear.h"

namespace sluice {

// y = x · weightᵀ [+ bias]; weight (out_features, in_features).
class Projection : public ops::Linear {
 public:
  struct Config {
    int64_t in_features, out_features;
    WeightInitialization initialization;
    bool bias;
  };
  // Adds `name`.weight and, if asked for, `name`.bias; `rows` is what a call usually has.
  void Add(const ModelBuild& build, const std::string& name, int64_t rows, const Config& config);
  void Bind(const ParameterStore& parameters);

 private:
  int weight_ = -1, bias_ = -1;  // parameter indices
};

}  // namespace sluice
