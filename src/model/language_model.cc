#include "model/language_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "ops/elementwise.h"

namespace sluice {
namespace {

TransformerBlockConfig BlockConfig(const ModelConfig& config, const Architecture& architecture,
                                   const ops::AttentionVariant& variant) {
  return {.norm_placement = architecture.norm_placement,
          .attention = {.hidden_size = config.hidden_size,
                        .num_attention_heads = config.num_attention_heads,
                        .attention_probs_dropout_prob = config.attention_probs_dropout_prob,
                        .variant = variant,
                        .projections = architecture.attention_projections,
                        .output = architecture.attention_output,
                        .gate_initial_probability = config.attention.gate.initial_probability,
                        .gate_initializer_range = config.attention.gate.initializer_range,
                        .biases = architecture.projection_biases},
          .feed_forward = {.hidden_size = config.hidden_size,
                           .intermediate_size = config.intermediate_size,
                           .activation = architecture.activation,
                           .initialization = architecture.feed_forward,
                           .biases = architecture.projection_biases},
          .hidden_dropout_prob = config.hidden_dropout_prob,
          .layer_norm_eps = static_cast<float>(config.layer_norm_eps)};
}

// Of a layer that may be without gates.
TransformerBlockConfig OfLayer(const TransformerBlockConfig& block, const ModelConfig& config,
                               int layer) {
  TransformerBlockConfig one = block;
  if (!IsGated(config.attention, layer)) {
    one.attention.variant = Ungated(block.attention.variant);
  }
  return one;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LanguageModel>> LanguageModel::Create(ModelBuild build,
                                                                     const RunConfig& config) {
  ASSIGN_OR_RETURN(const Architecture architecture, DescribeArchitecture(config.model));
  ASSIGN_OR_RETURN(const ops::AttentionVariant variant,
                   ParseAttentionVariant(config.model.attention, config.data.sequence_length));
  build.registers = variant.registers;
  return std::unique_ptr<LanguageModel>(new LanguageModel(
      build, config, architecture, BlockConfig(config.model, architecture, variant)));
}

// Parts add their parameters in the order in which backward finishes them: heads, last block …
// first block, embeddings.
LanguageModel::LanguageModel(const ModelBuild& build, const RunConfig& config,
                             const Architecture& architecture, const TransformerBlockConfig& block)
    : architecture_(architecture),
      config_(config.model),
      registers_(build.registers),
      batch_(build, architecture.token_types) {
  const double target_share = architecture.causal ? 1 : config.data.mlm_probability;
  head_ = std::make_unique<LanguageModelHead>(build, architecture, config_, target_share);
  if (config_.next_sentence_head) {
    next_sentence_head_ = std::make_unique<NextSentenceHead>(
        build, config_.hidden_size, architecture.head.Weight(config_.hidden_size));
  }
  const int layers = static_cast<int>(config_.num_hidden_layers);
  blocks_.reserve(layers);
  for (int layer = layers - 1; layer >= 0; --layer) {
    blocks_.emplace_back(build, architecture.layer_names(layer), layer,
                         OfLayer(block, config_, layer));
  }
  std::reverse(blocks_.begin(), blocks_.end());
  embedding_ = std::make_unique<InputEmbedding>(build, architecture, config_);
  PlanActivations(build, block);
}

void LanguageModel::PlanActivations(const ModelBuild& build, const TransformerBlockConfig& block) {
  const int layers = static_cast<int>(config_.num_hidden_layers);
  const int kept = build.train ? layers : std::min(layers, 2);
  for (int layer = 0; layer < kept; ++layer) {
    // Without backward layers share them, with gates or without.
    const TransformerBlockConfig planned = build.train ? OfLayer(block, config_, layer) : block;
    activations_.push_back(
        TransformerBlock::PlanActivations(build, absl::StrCat("layer.", layer), planned));
  }
  if (!build.train) return;
  const Shape shape{build.max_rows(), config_.hidden_size};
  scratch_ = TransformerBlock::PlanScratch(build, block);
  dnormed_ = build.Scratch("stream gradient", shape);
  if (block.norm_placement == NormPlacement::kPreNorm) {
    dresidual_ = build.Scratch("residual gradient", shape);
  }
}

void LanguageModel::Bind(const ParameterStore& parameters) {
  head_->Bind(parameters, embedding_->token_table());
  if (next_sentence_head_ != nullptr) next_sentence_head_->Bind(parameters);
  for (TransformerBlock& block : blocks_) block.Bind(parameters);
  embedding_->Bind(parameters);
  flat_elements_ = parameters.flat_elements();
}

void LanguageModel::WeightsChanged() {
  head_->WeightsChanged();
  if (next_sentence_head_ != nullptr) next_sentence_head_->WeightsChanged();
  for (TransformerBlock& block : blocks_) block.WeightsChanged();
  embedding_->WeightsChanged();
}

absl::Status LanguageModel::BeginPass(ExecutionContext& context, const Batch& batch,
                                      const ForwardOptions& options) {
  RETURN_IF_ERROR(batch_.Load(context, batch));
  pass_ = ForwardPass{.B = batch.B,
                      .T = registers_ + batch.T,
                      .registers = registers_,
                      .mask = {.causal = architecture_.causal,
                               .lengths = batch_.lengths().as<int32_t>(),
                               .documents = batch_.documents().as<int32_t>(),
                               .registers = registers_},
                      .dropout_enabled = options.train,
                      .seed = options.seed,
                      .sample_index = batch_.sample_index().as<int64_t>(),
                      .observer = options.observer};
  CHECK(!options.train || pass_.sample_index != nullptr);
  return absl::OkStatus();
}

absl::StatusOr<TensorView> LanguageModel::Encode(ExecutionContext& context, const Batch& batch,
                                                 const ForwardOptions& options) {
  RETURN_IF_ERROR(BeginPass(context, batch, options));
  ASSIGN_OR_RETURN(Stream stream,
                   embedding_->Forward(context, pass_, batch_.tokens(), batch_.segments()));
  embedded_ = stream.normed;
  for (int layer = 0; layer < static_cast<int>(blocks_.size()); ++layer) {
    ASSIGN_OR_RETURN(stream, blocks_[layer].Forward(context, pass_, stream, Saved(layer)));
  }
  return stream.normed;
}

absl::Status LanguageModel::Forward(ExecutionContext& context, const Batch& batch,
                                    const ForwardOptions& options, ModelLosses* losses) {
  ASSIGN_OR_RETURN(const TensorView hidden, Encode(context, batch, options));
  TensorView dhidden;
  if (options.train) {
    CHECK(dnormed_ != nullptr) << "planned without backward";
    dhidden = dnormed_->Prefix(hidden.shape());
    RETURN_IF_ERROR(ops::Zero(context, dhidden));
  }
  RETURN_IF_ERROR(head_->Forward(context,
                                 {.pass = pass_,
                                  .hidden = hidden,
                                  .rows = batch_.target_rows(),
                                  .targets = batch_.targets(),
                                  .dhidden = dhidden,
                                  .gradient_scale = options.loss_scale},
                                 &losses->language_model));
  if (next_sentence_head_ == nullptr) return absl::OkStatus();
  if (batch.next_sentence_labels.empty()) {
    return DataError("model.next_sentence_head is on, but the data has no sentence pairs");
  }
  return next_sentence_head_->Forward(context, pass_, hidden, batch_.next_sentence_labels(),
                                      options.next_sentence_weight * options.loss_scale, dhidden,
                                      &losses->next_sentence);
}

absl::Status LanguageModel::Backward(ExecutionContext& context,
                                     const GradientReady& gradient_ready) {
  CHECK(pass_.dropout_enabled) << "Backward without a training Forward";
  auto ready = [&](int64_t begin, int64_t end) {
    return gradient_ready ? gradient_ready(begin, end) : absl::OkStatus();
  };
  RETURN_IF_ERROR(ready(0, blocks_.back().gradient_begin()));
  const Shape shape{pass_.rows(), config_.hidden_size};
  const int layers = static_cast<int>(blocks_.size());
  const Stream gradient = {
      .normed = dnormed_->Prefix(shape),
      .residual = dresidual_ == nullptr ? TensorView() : dresidual_->Prefix(shape)};
  for (int layer = layers - 1; layer >= 0; --layer) {
    const TensorView x =
        layer == 0 ? embedded_ : Saved(layer - 1).feed_forward_residual.y->Prefix(shape);
    RETURN_IF_ERROR(blocks_[layer].Backward(context, pass_, Saved(layer), scratch_,
                                            {.x = x,
                                             .dnormed = gradient.normed,
                                             .dresidual = gradient.residual,
                                             .last = layer + 1 == layers}));
    RETURN_IF_ERROR(ready(blocks_[layer].gradient_begin(), blocks_[layer].gradient_end()));
  }
  RETURN_IF_ERROR(
      embedding_->Backward(context, pass_, batch_.tokens(), batch_.segments(), gradient));
  return ready(embedding_->gradient_begin(), flat_elements_);
}

absl::StatusOr<TensorView> LanguageModel::Predict(ExecutionContext& context, const Batch& batch,
                                                  const std::vector<int32_t>& positions,
                                                  Observer* observer) {
  ASSIGN_OR_RETURN(const TensorView hidden,
                   Encode(context, batch, ForwardOptions{.observer = observer}));
  return head_->Logits(context, pass_, hidden, positions);
}

}  // namespace sluice
