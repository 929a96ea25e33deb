// A model's parameters without the model: names, shapes and memory for their values, to carry them
// from one file into another.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"
#include "config/run_config.h"

namespace sluice {

class PlannedWeights {
 public:
  // The parameters that a model of this configuration has, all zero. config.model.vocab_size must
  // be known.
  static absl::StatusOr<PlannedWeights> Of(const RunConfig& config);

  std::vector<std::string> Names() const;
  int64_t elements() const;
  // Views on the values, which live as long as this object.
  std::vector<TensorDestination> Destinations();
  std::vector<NamedTensor> Tensors() const;

 private:
  struct Weight {
    std::string name;
    Shape shape;
    std::vector<float> values;
  };
  std::vector<Weight> weights_;
};

}  // namespace sluice
