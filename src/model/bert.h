// BERT (Devlin et al. 2018) with any attention variant: embeddings, post-LN blocks,
// masked-language-model head, and, when asked for, the next-sentence head. Parameter names are
// Hugging Face's BertForMaskedLM / BertForPreTraining; the gate of layer n is
// bert.encoder.layer.n.attention.self.gate.{weight,bias}.
//
//   Bert bert(build, BertConfigOf(model_config)…);  arena.Allocate(…);  bert.Bind();
//   InitializeParameters(seed, parameters); bert.WeightsChanged();
//   RETURN_IF_ERROR(bert.Forward(context, batch, options, losses));
//   RETURN_IF_ERROR(bert.Backward(context, gradient_ready));
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "model/input_embedding.h"
#include "model/masked_lm_head.h"
#include "model/next_sentence_head.h"
#include "model/transformer_block.h"

namespace sluice {

struct ModelLosses {
  LossSums language_model;
  LossSums next_sentence;
};

struct ForwardOptions {
  bool train = false;  // dropout on; a Backward will follow
  uint64_t seed = 0;   // of the run
  double next_sentence_weight =
      1;  // of its summed loss beside the masked language model's, for the gradient
  Observer* observer = nullptr;
};

// The attention variant that a configuration names; UsageError lists the known ones.
absl::StatusOr<ops::AttentionVariant> ParseAttentionVariant(const AttentionConfig& config);

class Bert {
 public:
  // Adds parameters and plans memory. UsageError for a configuration that is not a BERT.
  static absl::StatusOr<std::unique_ptr<Bert>> Create(const ModelBuild& build,
                                                      const ModelConfig& config,
                                                      double mlm_probability);

  // After the arena has been allocated; `parameters` must outlive the model.
  void Bind(const ParameterStore& parameters);
  // After every change of the weights' values.
  void WeightsChanged();

  // Adds to `losses`. With options.train it also runs the heads' backward; call Backward next, with
  // the same batch alive.
  absl::Status Forward(ExecutionContext& context, const Batch& batch, const ForwardOptions& options,
                       ModelLosses& losses);
  // Adds this batch's gradients (of losses summed over targets) to the flat gradient.
  // gradient_ready(begin, end), if set, is called with stretches of it, rising and without gaps, as
  // they become complete.
  using GradientReady = std::function<absl::Status(int64_t begin, int64_t end)>;
  absl::Status Backward(ExecutionContext& context, const GradientReady& gradient_ready);

  // Logits (positions, V) at the given b·T + t of a batch, fp32 (fp64 for the reference):
  // prediction. At most max_predictions().
  absl::StatusOr<TensorView> Predict(ExecutionContext& context, const Batch& batch,
                                     const std::vector<int32_t>& positions);
  int64_t max_predictions() const { return masked_lm_head_->chunk_rows(); }

 private:
  Bert(const ModelBuild& build, const ModelConfig& config, double mlm_probability,
       const TransformerBlockConfig& block_config);
  absl::StatusOr<TensorView> Encode(ExecutionContext& context, const Batch& batch,
                                    const ForwardOptions& options);
  const BlockActivations& Saved(int layer) const {
    return activations_[layer % activations_.size()];
  }

  ModelConfig config_;
  std::unique_ptr<MaskedLmHead> masked_lm_head_;
  std::unique_ptr<NextSentenceHead> next_sentence_head_;  // null: none
  std::vector<TransformerBlock> blocks_;                  // layer 0 first
  std::unique_ptr<InputEmbedding> embedding_;
  std::vector<BlockActivations>
      activations_;                     // one a layer when training, else two that take turns
  BlockScratch scratch_;                // training only
  const TensorView* stream_ = nullptr;  // (N, C): gradient of the residual stream, training only
  int64_t flat_elements_ = 0;

  // Of the last Forward, for Backward.
  ForwardPass pass_;
  TensorView tokens_, segments_, embedded_;
};

}  // namespace sluice
