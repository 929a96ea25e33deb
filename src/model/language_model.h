// A transformer with any attention variant: embeddings, layers, language-model head, and, for BERT
// when asked for, the next-sentence head. What tells BERT, OPT and the Bigram-Backcopy model apart
// is data (architecture.h). Parameter names are Hugging Face's BertForMaskedLM, BertForPreTraining
// and OPTForCausalLM; the gate of a layer is ….attention.self.gate.{weight,bias} or
// ….self_attn.gate.{weight,bias}.
//
//   ASSIGN_OR_RETURN(auto model, LanguageModel::Create(build, config));
//   arena.Allocate(…);  model->Bind(parameters);
//   InitializeParameters(seed, context, parameters);  model->WeightsChanged();
//   RETURN_IF_ERROR(model->Forward(context, batch, options, losses));      losses: of the device
//   RETURN_IF_ERROR(model->Backward(context, gradient_ready));
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch.h"
#include "model/architecture.h"
#include "model/device_batch.h"
#include "model/input_embedding.h"
#include "model/language_model_head.h"
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
      1;                  // of its summed loss beside the language model's, for the gradient
  double loss_scale = 1;  // multiplies every gradient, so that small ones survive in fp16
  Observer* observer = nullptr;
};

class LanguageModel {
 public:
  // Adds parameters and plans memory. build.registers is read from the configuration. UsageError
  // for a configuration that is none of the known models.
  static absl::StatusOr<std::unique_ptr<LanguageModel>> Create(ModelBuild build,
                                                               const RunConfig& config);

  // After the arena has been allocated; `parameters` must outlive the model.
  void Bind(const ParameterStore& parameters);
  // After every change of the weights' values.
  void WeightsChanged();

  // Begins to copy the batch of a later Forward: DeviceBatch::Prefetch.
  absl::Status Prefetch(ExecutionContext& context, const Batch& batch) {
    return batch_.Prefetch(context, batch);
  }

  // Adds to *losses, memory of the device. With options.train it also runs the heads' backward;
  // call Backward next.
  absl::Status Forward(ExecutionContext& context, const Batch& batch, const ForwardOptions& options,
                       ModelLosses* losses);
  // Adds this batch's gradients (of losses summed over targets, times options.loss_scale) to the
  // flat gradient.
  // gradient_ready(begin, end), if set, is called with stretches of it, rising and without gaps, as
  // they become complete.
  using GradientReady = std::function<absl::Status(int64_t begin, int64_t end)>;
  absl::Status Backward(ExecutionContext& context, const GradientReady& gradient_ready);

  // Logits (positions, V) at the given b·T + t of a batch, fp32 (fp64 for the reference), in memory
  // of the device: prediction. At most max_predictions().
  absl::StatusOr<TensorView> Predict(ExecutionContext& context, const Batch& batch,
                                     const std::vector<int32_t>& positions,
                                     Observer* observer = nullptr);
  int64_t max_predictions() const { return head_->chunk_rows(); }
  const Architecture& architecture() const { return architecture_; }

 private:
  LanguageModel(const ModelBuild& build, const RunConfig& config, const Architecture& architecture,
                const TransformerBlockConfig& block);
  void PlanActivations(const ModelBuild& build, const TransformerBlockConfig& block);
  absl::Status BeginPass(ExecutionContext& context, const Batch& batch,
                         const ForwardOptions& options);
  absl::StatusOr<TensorView> Encode(ExecutionContext& context, const Batch& batch,
                                    const ForwardOptions& options);
  const BlockActivations& Saved(int layer) const {
    return activations_[layer % activations_.size()];
  }

  Architecture architecture_;
  ModelConfig config_;
  int64_t registers_;
  DeviceBatch batch_;  // of the last Forward
  std::unique_ptr<LanguageModelHead> head_;
  std::unique_ptr<NextSentenceHead> next_sentence_head_;  // null: none
  std::vector<TransformerBlock> blocks_;                  // layer 0 first
  std::unique_ptr<InputEmbedding> embedding_;
  std::vector<BlockActivations>
      activations_;       // one a layer when training, else two that take turns
  BlockScratch scratch_;  // training only
  // Training only, (N, C): gradient of the normed stream, and of the residual in pre-LN models.
  const TensorView* dnormed_ = nullptr;
  const TensorView* dresidual_ = nullptr;
  int64_t flat_elements_ = 0;

  // Of the last Forward, for Backward.
  ForwardPass pass_;
  TensorView embedded_;
};

}  // namespace sluice
