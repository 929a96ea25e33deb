// A post-LN transformer block (Vaswani et al. 2017; BERT):
//
//   a = LayerNorm(x + dropout(attention(x)))
//   y = LayerNorm(a + dropout(feed_forward(a)))
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "model/attention_block.h"
#include "model/feed_forward.h"

namespace sluice {

struct TransformerBlockConfig {
  AttentionBlockConfig attention;
  FeedForwardConfig feed_forward;
  double hidden_dropout_prob;
  float layer_norm_eps;
};

// Post-LN residual pair: what its LayerNorm saves.
struct ResidualActivations {
  const TensorView* sum;   // (N, C): residual + dropout(branch); holds the branch's output before
  const TensorView* mean;  // (N), accumulator dtype
  const TensorView* rstd;  // (N), accumulator dtype
  const TensorView* y;     // (N, C)
};

struct BlockActivations {
  AttentionActivations attention;
  ResidualActivations attention_residual;
  FeedForwardActivations feed_forward;
  ResidualActivations feed_forward_residual;
};

// Shared by all blocks.
struct BlockScratch {
  AttentionScratch attention;
  const TensorView* dactivated;  // (N, I)
  const TensorView* dresidual;   // (N, C)
  const TensorView* dbranch;     // (N, C)
};

class TransformerBlock {
 public:
  TransformerBlock(const ModelBuild& build, const std::string& name, int layer,
                   const TransformerBlockConfig& config);
  static BlockActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                          const TransformerBlockConfig& config);
  static BlockScratch PlanScratch(const ModelBuild& build, const TransformerBlockConfig& config);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // x (N, C); the block's output is saved.feed_forward_residual.y.
  absl::Status Forward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                       const BlockActivations& saved);
  // stream (N, C): holds the gradient of the block's output, and after the call that of its input.
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass, const TensorView& x,
                        const BlockActivations& saved, const BlockScratch& scratch,
                        const TensorView& stream);

  // The part of the flat gradient that is complete after Backward: elements [begin, end).
  int64_t gradient_begin() const { return gradient_begin_; }
  int64_t gradient_end() const { return gradient_end_; }

 private:
  struct Norm {
    int weight, bias;  // parameter indices
    TensorView weight_value, bias_value, weight_gradient, bias_gradient;
  };
  static Norm AddNorm(const ModelBuild& build, const std::string& name, int64_t C);
  static void BindNorm(const ParameterStore& parameters, Norm& norm);
  absl::Status NormForward(ExecutionContext& context, const Norm& norm, const TensorView& residual,
                           const ResidualActivations& saved, const Dropout& dropout);
  // dy → dresidual and dbranch (which is dresidual itself without dropout; returned).
  absl::StatusOr<TensorView> NormBackward(ExecutionContext& context, const Norm& norm,
                                          const TensorView& dy, const ResidualActivations& saved,
                                          const Dropout& dropout, const TensorView& dresidual,
                                          const TensorView& dbranch);

  TransformerBlockConfig config_;
  int layer_;
  int64_t gradient_begin_, gradient_end_;
  Norm feed_forward_norm_;
  FeedForward feed_forward_;
  Norm attention_norm_;
  AttentionBlock attention_;
};

}  // namespace sluice
