// What follows each branch of a layer, and, without a branch, the embeddings: the branch joins the
// residual stream and a LayerNorm reads it.
//
//   sum = residual + dropout(branch)      (no residual: sum is what is given)
//   y   = LayerNorm(sum)
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/model_build.h"
#include "ops/embedding.h"

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

  // What the sum and its norm are shown as.
  struct Look {
    Observer* observer = nullptr;  // may be null
    int layer = 0;
    absl::string_view sum, norm;
  };
  struct ForwardCall {
    int64_t rows;
    TensorView residual = {};  // (rows, C), or null: saved.sum holds the sum itself
    Dropout dropout = {};
    Look look = {};
  };
  // The first rows of saved.sum hold the branch's output.
  absl::Status Forward(ExecutionContext& context, const ForwardCall& call,
                       const ResidualActivations& saved) const;

  // The same for a sum of embeddings, made on the way, and with dropout behind the norm. One
  // kernel, but for an observer that changes the sum between.
  struct EmbeddingCall {
    int64_t rows;
    ops::EmbeddingForward embedding;  // its y is set here, to saved.sum
    bool projected_in_y;              // its `projected` lies in saved.y: not one kernel either
    Dropout dropout = {};
    Look look = {};  // `norm` is shown behind the dropout
  };
  absl::Status ForwardEmbedding(ExecutionContext& context, const EmbeddingCall& call,
                                const ResidualActivations& saved) const;

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
  static bool ChangesSum(const Look& look);
  absl::Status Normalize(ExecutionContext& context, const ForwardCall& call,
                         const ResidualActivations& saved) const;

  float eps_;
  int weight_, bias_;  // parameter indices
  TensorView weight_value_, bias_value_, weight_gradient_, bias_gradient_;
};

}  // namespace sluice
