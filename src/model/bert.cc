#include "model/bert.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "ops/activation.h"
#include "ops/elementwise.h"

namespace sluice {
namespace {

// Views on a batch are read only; TensorView has no const form.
TensorView View(const std::vector<int32_t>& values, const Shape& shape) {
  if (values.empty()) return TensorView();
  CHECK_EQ(std::ssize(values), shape.elements());
  return TensorView::Of(const_cast<int32_t*>(values.data()), shape);
}

struct Initials {
  InitialValues dense, projection_weight, projection_bias;
};

// recipes: the paper's code swaps the attention module in after the model is built, so query, key,
// value and gates keep torch.nn.Linear's default, U(±1/sqrt(fan_in)) with biases; its text says
// N(0, range) everywhere and zero biases.
absl::StatusOr<Initials> ParseInitialization(const ModelConfig& config) {
  const InitialValues normal{InitialValues::Kind::kNormal, config.initializer_range};
  if (config.initialization == "paper_text") return Initials{normal, normal, {}};
  if (config.initialization == "paper_code") {
    const InitialValues uniform{InitialValues::Kind::kUniform,
                                1 / std::sqrt(static_cast<double>(config.hidden_size))};
    return Initials{normal, uniform, uniform};
  }
  return UsageError("unknown model.initialization", config.initialization,
                    "known: paper_code, paper_text");
}

}  // namespace

absl::StatusOr<ops::AttentionVariant> ParseAttentionVariant(const AttentionConfig& config) {
  if (config.variant == "vanilla") return ops::AttentionVariant{};
  if (config.variant != "gated") {
    return UsageError("unknown model.attention.variant", config.variant, "known: vanilla, gated");
  }
  ops::AttentionVariant variant{.gate_bias = config.gate.bias};
  if (config.gate.site == "query") {
    variant.gate_site = GateSite::kQuery;
  } else if (config.gate.site == "key") {
    variant.gate_site = GateSite::kKey;
  } else {
    return UsageError("unknown model.attention.gate.site", config.gate.site, "known: query, key");
  }
  if (config.gate.source == "input") {
    variant.gate_source = ops::GateSource::kInput;
  } else if (config.gate.source != "value") {
    return UsageError("unknown model.attention.gate.source", config.gate.source,
                      "known: value, input");
  }
  return variant;
}

absl::StatusOr<std::unique_ptr<Bert>> Bert::Create(const ModelBuild& build,
                                                   const ModelConfig& config,
                                                   double mlm_probability) {
  if (config.architecture != "bert") {
    return UsageError("unknown model.architecture", config.architecture, "known: bert");
  }
  ASSIGN_OR_RETURN(const ops::AttentionVariant variant, ParseAttentionVariant(config.attention));
  ASSIGN_OR_RETURN(const Initials initials, ParseInitialization(config));
  ASSIGN_OR_RETURN(const Activation activation, ops::ParseActivation(config.hidden_act));
  const TransformerBlockConfig block{
      .attention = {.hidden_size = config.hidden_size,
                    .num_attention_heads = config.num_attention_heads,
                    .attention_probs_dropout_prob = config.attention_probs_dropout_prob,
                    .variant = variant,
                    .qkv_weight = initials.projection_weight,
                    .qkv_bias = initials.projection_bias,
                    .gate_weight = initials.projection_weight,
                    .gate_bias = initials.projection_bias,
                    .output_weight = initials.dense},
      .feed_forward = {.hidden_size = config.hidden_size,
                       .intermediate_size = config.intermediate_size,
                       .activation = activation,
                       .weight = initials.dense},
      .hidden_dropout_prob = config.hidden_dropout_prob,
      .layer_norm_eps = static_cast<float>(config.layer_norm_eps)};
  return std::unique_ptr<Bert>(new Bert(build, config, mlm_probability, block));
}

// Parts add their parameters in the order in which backward finishes them: heads, last block …
// first block, embeddings.
Bert::Bert(const ModelBuild& build, const ModelConfig& config, double mlm_probability,
           const TransformerBlockConfig& block)
    : config_(config) {
  const InitialValues& dense = block.feed_forward.weight;
  masked_lm_head_ =
      std::make_unique<MaskedLmHead>(build, "cls.predictions",
                                     MaskedLmHeadConfig{.vocab_size = config.vocab_size,
                                                        .hidden_size = config.hidden_size,
                                                        .activation = block.feed_forward.activation,
                                                        .layer_norm_eps = block.layer_norm_eps,
                                                        .weight = dense,
                                                        .expected_target_share = mlm_probability});
  if (config.next_sentence_head) {
    next_sentence_head_ = std::make_unique<NextSentenceHead>(build, config.hidden_size, dense);
  }
  const int layers = static_cast<int>(config.num_hidden_layers);
  blocks_.reserve(layers);
  for (int layer = layers - 1; layer >= 0; --layer) {
    blocks_.emplace_back(build, absl::StrCat("bert.encoder.layer.", layer), layer, block);
  }
  std::reverse(blocks_.begin(), blocks_.end());
  InitialValues token_table = dense;
  token_table.zero_row = 0;
  embedding_ = std::make_unique<InputEmbedding>(
      build, "bert.embeddings",
      InputEmbeddingConfig{.vocab_size = config.vocab_size,
                           .hidden_size = config.hidden_size,
                           .max_position_embeddings = config.max_position_embeddings,
                           .type_vocab_size = config.type_vocab_size,
                           .hidden_dropout_prob = config.hidden_dropout_prob,
                           .layer_norm_eps = block.layer_norm_eps,
                           .table = dense,
                           .token_table = token_table});
  const int kept = build.train ? layers : std::min(layers, 2);
  for (int layer = 0; layer < kept; ++layer) {
    activations_.push_back(
        TransformerBlock::PlanActivations(build, absl::StrCat("layer.", layer), block));
  }
  if (build.train) {
    scratch_ = TransformerBlock::PlanScratch(build, block);
    stream_ = build.Scratch("stream gradient", {build.max_tokens(), config.hidden_size});
  }
}

void Bert::Bind(const ParameterStore& parameters) {
  masked_lm_head_->Bind(parameters, embedding_->token_table());
  if (next_sentence_head_ != nullptr) next_sentence_head_->Bind(parameters);
  for (TransformerBlock& block : blocks_) block.Bind(parameters);
  embedding_->Bind(parameters);
  flat_elements_ = parameters.flat_elements();
}

void Bert::WeightsChanged() {
  masked_lm_head_->WeightsChanged();
  if (next_sentence_head_ != nullptr) next_sentence_head_->WeightsChanged();
  for (TransformerBlock& block : blocks_) block.WeightsChanged();
}

absl::StatusOr<TensorView> Bert::Encode(ExecutionContext& context, const Batch& batch,
                                        const ForwardOptions& options) {
  pass_ =
      ForwardPass{.B = batch.B,
                  .T = batch.T,
                  .mask = {.causal = false,
                           .lengths = batch.lengths.empty() ? nullptr : batch.lengths.data(),
                           .documents = batch.documents.empty() ? nullptr : batch.documents.data()},
                  .dropout_enabled = options.train,
                  .save_for_backward = options.train,
                  .seed = options.seed,
                  .sample_index = batch.sample_index.empty() ? nullptr : batch.sample_index.data(),
                  .observer = options.observer};
  CHECK(!options.train || pass_.sample_index != nullptr);
  tokens_ = View(batch.tokens, {batch.B, batch.T});
  segments_ = View(batch.segments, {batch.B, batch.T});
  ASSIGN_OR_RETURN(embedded_, embedding_->Forward(context, pass_, tokens_, segments_));
  TensorView x = embedded_;
  for (int layer = 0; layer < static_cast<int>(blocks_.size()); ++layer) {
    RETURN_IF_ERROR(blocks_[layer].Forward(context, pass_, x, Saved(layer)));
    x = Saved(layer).feed_forward_residual.y->Prefix(x.shape());
  }
  return x;
}

absl::Status Bert::Forward(ExecutionContext& context, const Batch& batch,
                           const ForwardOptions& options, ModelLosses& losses) {
  ASSIGN_OR_RETURN(const TensorView hidden, Encode(context, batch, options));
  TensorView dhidden;
  if (options.train) {
    CHECK(stream_ != nullptr) << "planned without backward";
    dhidden = stream_->Prefix(hidden.shape());
    ops::Zero(context, dhidden);
  }
  RETURN_IF_ERROR(masked_lm_head_->Forward(context, hidden, batch.target_positions, batch.targets,
                                           dhidden, losses.language_model));
  if (next_sentence_head_ == nullptr) return absl::OkStatus();
  if (batch.next_sentence_labels.empty()) {
    return DataError("model.next_sentence_head is on, but the data has no sentence pairs");
  }
  return next_sentence_head_->Forward(context, pass_, hidden, batch.next_sentence_labels,
                                      options.next_sentence_weight, dhidden, losses.next_sentence);
}

absl::Status Bert::Backward(ExecutionContext& context, const GradientReady& gradient_ready) {
  CHECK(pass_.save_for_backward) << "Backward without a training Forward";
  auto ready = [&](int64_t begin, int64_t end) {
    return gradient_ready ? gradient_ready(begin, end) : absl::OkStatus();
  };
  RETURN_IF_ERROR(
      ready(0, blocks_.empty() ? embedding_->gradient_begin() : blocks_.back().gradient_begin()));
  const TensorView stream = stream_->Prefix({pass_.tokens(), config_.hidden_size});
  for (int layer = static_cast<int>(blocks_.size()) - 1; layer >= 0; --layer) {
    const TensorView x =
        layer == 0 ? embedded_ : Saved(layer - 1).feed_forward_residual.y->Prefix(stream.shape());
    RETURN_IF_ERROR(blocks_[layer].Backward(context, pass_, x, Saved(layer), scratch_, stream));
    RETURN_IF_ERROR(ready(blocks_[layer].gradient_begin(), blocks_[layer].gradient_end()));
  }
  RETURN_IF_ERROR(embedding_->Backward(context, pass_, tokens_, segments_, stream));
  return ready(embedding_->gradient_begin(), flat_elements_);
}

absl::StatusOr<TensorView> Bert::Predict(ExecutionContext& context, const Batch& batch,
                                         const std::vector<int32_t>& positions) {
  ASSIGN_OR_RETURN(const TensorView hidden, Encode(context, batch, ForwardOptions{}));
  return masked_lm_head_->Logits(context, hidden, positions);
}

}  // namespace sluice
