// What follows each branch of a layer, and, without a branch, the embeddings: the branch joins the
// residual stream and a LayerNorm reads it.
//
//   sum = residual + dropout(branch)      (no residual: sum is what is given)
//   y   = LayerNorm(sum)
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_build.h"

namespace sluice {

// What forward saves for backward.
struct ResidualActivations {
  const TensorView* sum;   // (N, C); holds the branch's output before
  const TensorView* mean;  // (N), accumulator dtype
  const TensorView* rstd;  // (N), accumulator dtype
  const TensorView* y;     // (N, C)
};

class ResidualNorm {
 public:
  // Adds `name`.weight and `name`.bias.
  ResidualNorm(const ModelBuild& build, const std::string& name, int64_t hidden_size, float eps);
  static ResidualActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                             int64_t hidden_size);

  void Bind(const ParameterStore& parameters);

  // saved.sum (its first residual.rows() rows) holds the branch's output, or without `residual`
  // (null, of no rows) the sum itself, of `rows` rows.
  absl::Status Forward(ExecutionContext& context, int64_t rows, const TensorView& residual,
                       const ResidualActivations& saved, const Dropout& dropout) const;

  struct BackwardCall {
    TensorView dy;         // (N, C)
    TensorView dsum_in;    // (N, C) or null: gradient of the sum from elsewhere
    TensorView dresidual;  // (N, C), overwritten: gradient of the sum; may be dy or dsum_in
    TensorView dbranch;    // (N, C): taken when there is dropout
    Dropout dropout;
  };
  // Returns the branch's gradient: dbranch, or dresidual itself without dropout.
  absl::StatusOr<TensorView> Backward(ExecutionContext& context, const ResidualActivations& saved,
                                      const BackwardCall& call) const;

 private:
  float eps_;
  int weight_, bias_;  // parameter indices
  TensorView weight_value_, bias_value_, weight_gradient_, bias_gradient_;
};

}  // namespace sluice
