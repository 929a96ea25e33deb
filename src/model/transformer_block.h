// One layer: attention and feed-forward, each added to the residual stream and followed by a
// LayerNorm (architecture.h).
//
//   sum_a = residual   + dropout(attention(x));     a = LayerNorm(sum_a)
//   sum   = residual_a + dropout(feed_forward(a));  y = LayerNorm(sum)
//
// post-LN: residual = x, residual_a = a. pre-LN: residual = the sum before x's LayerNorm,
// residual_a = sum_a.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/architecture.h"
#include "model/attention_block.h"
#include "model/feed_forward.h"
#include "model/residual_norm.h"

namespace sluice {

struct TransformerBlockConfig {
  NormPlacement norm_placement;
  AttentionBlockConfig attention;
  FeedForwardConfig feed_forward;
  double hidden_dropout_prob;
  float layer_norm_eps;
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
  const TensorView* dresidual;   // (N, C): post-LN only
  const TensorView* dbranch;     // (N, C)
};

// The residual stream where it enters or leaves a block, or the gradient of it.
struct Stream {
  TensorView normed;    // (N, C): behind the LayerNorm
  TensorView residual;  // (N, C): what the next branch is added to. In forward it is `normed`
                        // itself in post-LN models; its gradient is null there, and in pre-LN
                        // models also behind the last block, until Backward has written it
};

class TransformerBlock {
 public:
  TransformerBlock(const ModelBuild& build, const LayerNames& names, int layer,
                   const TransformerBlockConfig& config);
  static BlockActivations PlanActivations(const ModelBuild& build, const std::string& name,
                                          const TransformerBlockConfig& config);
  static BlockScratch PlanScratch(const ModelBuild& build, const TransformerBlockConfig& config);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  absl::StatusOr<Stream> Forward(ExecutionContext& context, const ForwardPass& pass,
                                 const Stream& in, const BlockActivations& saved);

  struct BackwardCall {
    TensorView x;          // (N, C): forward's in.normed
    TensorView dnormed;    // (N, C): gradient of the block's `normed`, afterwards of x
    TensorView dresidual;  // (N, C): pre-LN: gradient of the block's `residual`, afterwards of the
                           // residual that came in; not read when `last`
    bool last;             // nothing reads the residual behind this block
  };
  absl::Status Backward(ExecutionContext& context, const ForwardPass& pass,
                        const BlockActivations& saved, const BlockScratch& scratch,
                        const BackwardCall& call);

  // The part of the flat gradient that is complete after Backward: elements [begin, end).
  int64_t gradient_begin() const { return gradient_begin_; }
  int64_t gradient_end() const { return gradient_end_; }

 private:
  Dropout DropoutAt(const ForwardPass& pass, DropoutSite site) const {
    return MakeDropout(pass, config_.hidden_dropout_prob, layer_, site);
  }

  TransformerBlockConfig config_;
  int layer_;
  int64_t gradient_begin_, gradient_end_;
  ResidualNorm feed_forward_norm_;
  FeedForward feed_forward_;
  ResidualNorm attention_norm_;
  AttentionBlock attention_;
};

}  // namespace sluice
