#include "model/architecture.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// Bondarenko et al. (arXiv 2306.12929) swap the attention module in after the model is built, so
// its projections keep torch.nn.Linear's default; their text says N(0, range) everywhere and zero
// biases. BERT's output projection is outside of the swapped module, OPT's is inside.
struct Initializations {
  WeightInitialization normal, swapped;
};

absl::StatusOr<Initializations> ParseInitialization(const ModelConfig& config) {
  const WeightInitialization normal{.torch_linear = false, .range = config.initializer_range};
  if (config.initialization == "paper_text") return Initializations{normal, normal};
  if (config.initialization == "paper_code") return Initializations{normal, {.torch_linear = true}};
  return UsageError("unknown model.initialization", config.initialization,
                    "known: paper_code, paper_text");
}

LayerNames BertLayer(int layer) {
  const std::string prefix = absl::StrCat("bert.encoder.layer.", layer);
  const std::string self = prefix + ".attention.self";
  return {.attention = self,
          .query = self + ".query",
          .key = self + ".key",
          .value = self + ".value",
          .attention_output = prefix + ".attention.output.dense",
          .attention_norm = prefix + ".attention.output.LayerNorm",
          .up = prefix + ".intermediate.dense",
          .down = prefix + ".output.dense",
          .feed_forward_norm = prefix + ".output.LayerNorm"};
}

Architecture Bert(const Initializations& initial) {
  return {.name = "bert",
          .norm_placement = NormPlacement::kPostNorm,
          .token_types = true,
          .embedding_dropout = true,
          .padding_id = 0,  // [PAD]
          .head_transform = true,
          .decoder_bias = true,
          .embedding = initial.normal,
          .attention_projections = initial.swapped,
          .attention_output = initial.normal,
          .feed_forward = initial.normal,
          .head = initial.normal,
          .token_table = "bert.embeddings.word_embeddings",
          .position_table = "bert.embeddings.position_embeddings",
          .segment_table = "bert.embeddings.token_type_embeddings",
          .register_table = "bert.embeddings.register_embeddings",
          .input_norm = "bert.embeddings.LayerNorm",
          .layer_names = BertLayer,
          .head_transform_name = "cls.predictions.transform",
          .decoder_bias_name = "cls.predictions"};
}

// A pre-LN decoder: the LayerNorm that follows a layer is the one that the next layer begins with.
LayerNames OptLayer(int layer, int64_t layers) {
  const std::string prefix = absl::StrCat("model.decoder.layers.", layer);
  const std::string self = prefix + ".self_attn";
  return {.attention = self,
          .query = self + ".q_proj",
          .key = self + ".k_proj",
          .value = self + ".v_proj",
          .attention_output = self + ".out_proj",
          .attention_norm = prefix + ".final_layer_norm",
          .up = prefix + ".fc1",
          .down = prefix + ".fc2",
          .feed_forward_norm = layer + 1 < layers ? absl::StrCat("model.decoder.layers.", layer + 1,
                                                                 ".self_attn_layer_norm")
                                                  : "model.decoder.final_layer_norm"};
}

Architecture Opt(const ModelConfig& config, const Initializations& initial) {
  const int64_t layers = config.num_hidden_layers;
  return {.name = "opt",
          .norm_placement = NormPlacement::kPreNorm,
          .causal = true,
          .position_offset = 2,
          .embedding_size = config.word_embed_proj_dim,
          .padding_id = 1,  // <pad>
          .embedding = initial.normal,
          .attention_projections = initial.swapped,
          .attention_output = initial.swapped,
          .feed_forward = initial.normal,
          .head = initial.normal,
          .token_table = "model.decoder.embed_tokens",
          .position_table = "model.decoder.embed_positions",
          .register_table = "model.decoder.embed_registers",
          .project_in = "model.decoder.project_in",
          .input_norm = "model.decoder.layers.0.self_attn_layer_norm",
          .layer_names = [layers](int layer) { return OptLayer(layer, layers); },
          .project_out = "model.decoder.project_out"};
}

// The model that Guo et al. (arXiv 2410.13835) train on the Bigram-Backcopy task: no bias in any
// projection, embeddings N(0, 1), everything else torch.nn.Linear's default.
Architecture BigramBackcopy(const ModelConfig& config) {
  const int64_t layers = config.num_hidden_layers;
  const WeightInitialization linear{.torch_linear = true};
  auto layer_names = [layers](int layer) {
    const std::string prefix = absl::StrCat("layers.", layer);
    return LayerNames{.attention = prefix + ".attention",
                      .query = prefix + ".attention.query",
                      .key = prefix + ".attention.key",
                      .value = prefix + ".attention.value",
                      .attention_output = prefix + ".attention.output",
                      .attention_norm = prefix + ".feed_forward_norm",
                      .up = prefix + ".feed_forward.up",
                      .down = prefix + ".feed_forward.down",
                      .feed_forward_norm =
                          layer + 1 < layers ? absl::StrCat("layers.", layer + 1, ".attention_norm")
                                             : "final_norm"};
  };
  return {.name = "bigram_backcopy",
          .norm_placement = NormPlacement::kPreNorm,
          .causal = true,
          .projection_biases = false,
          .tied_decoder = false,
          .embedding = {.torch_linear = false, .range = 1},
          .attention_projections = linear,
          .attention_output = linear,
          .feed_forward = linear,
          .head = linear,
          .token_table = "token_embedding",
          .position_table = "position_embedding",
          .register_table = "register_embedding",
          .input_norm = "layers.0.attention_norm",
          .layer_names = layer_names,
          .decoder_weight = "unembedding"};
}

absl::Status ParseGatePredictor(const GateConfig& config, ops::AttentionVariant& variant) {
  variant.gate_curve = {.steepness = 1 / config.temperature, .scale = GateScale(config)};
  if (config.predictor == "mlp") {
    variant.gate_predictor = ops::GatePredictor::kPerceptron;
    variant.gate_hidden_size = config.predictor_hidden_size;
    variant.gate_bias = true;
  } else if (config.predictor == "free_scalar") {
    variant.gate_predictor = ops::GatePredictor::kFreeScalar;
  } else if (config.predictor != "linear") {
    return UsageError("unknown model.attention.gate.predictor", config.predictor,
                      "known: linear, mlp, free_scalar");
  }
  return absl::OkStatus();
}

absl::Status ParseGate(const GateConfig& config, ops::AttentionVariant& variant) {
  variant.gate_bias = config.bias;
  variant.gate_per_head_slice = config.per_head_slice;
  if (config.site == "query") {
    variant.gate_site = GateSite::kQuery;
  } else if (config.site == "key") {
    variant.gate_site = GateSite::kKey;
  } else {
    return UsageError("unknown model.attention.gate.site", config.site, "known: query, key");
  }
  if (config.source == "input") {
    variant.gate_source = ops::GateSource::kInput;
  } else if (config.source != "value") {
    return UsageError("unknown model.attention.gate.source", config.source, "known: value, input");
  }
  if (config.granularity == "channel") {
    variant.gate_granularity = ops::GateGranularity::kChannel;
  } else if (config.granularity != "head") {
    return UsageError("unknown model.attention.gate.granularity", config.granularity,
                      "known: head, channel");
  }
  return ParseGatePredictor(config, variant);
}

ClippedSoftmax ParseClip(const ClippedSoftmaxConfig& config, int64_t length) {
  const double gamma =
      config.alpha > 0 ? -config.alpha / static_cast<double>(length) : config.gamma;
  return {.gamma = static_cast<float>(gamma), .zeta = static_cast<float>(config.zeta)};
}

absl::Status ParseSink(const std::string& kind, ops::AttentionVariant& variant) {
  if (kind == "logit") {
    variant.sink = SoftmaxSink::kLogit;
  } else if (kind == "token") {
    variant.sink_token = true;
  } else {
    return UsageError("unknown model.attention.learnable_sink", kind, "known: logit, token");
  }
  return absl::OkStatus();
}

}  // namespace

InitialValues WeightInitialization::Weight(int64_t in_features) const {
  if (!torch_linear) return {InitialValues::Kind::kNormal, range};
  return {InitialValues::Kind::kUniform, 1 / std::sqrt(static_cast<double>(in_features))};
}

InitialValues WeightInitialization::Bias(int64_t in_features) const {
  return torch_linear ? Weight(in_features) : InitialValues{};
}

absl::StatusOr<Architecture> DescribeArchitecture(const ModelConfig& config) {
  ASSIGN_OR_RETURN(const Initializations initial, ParseInitialization(config));
  Architecture architecture;
  if (config.architecture == "bert") {
    architecture = Bert(initial);
  } else if (config.architecture == "opt") {
    architecture = Opt(config, initial);
  } else if (config.architecture == "bigram_backcopy") {
    architecture = BigramBackcopy(config);
  } else {
    return UsageError("unknown model.architecture", config.architecture,
                      "known: bert, opt, bigram_backcopy");
  }
  ASSIGN_OR_RETURN(architecture.activation, ops::ParseActivation(config.hidden_act));
  if (architecture.embedding_size == 0) architecture.embedding_size = config.hidden_size;
  if (config.next_sentence_head && architecture.name != "bert") {
    return UsageError("only bert has a next-sentence head", config.architecture);
  }
  return architecture;
}

absl::StatusOr<ops::AttentionVariant> ParseAttentionVariant(const AttentionConfig& config,
                                                            int64_t length) {
  ops::AttentionVariant variant;
  variant.registers = config.register_tokens;
  if (config.variant == "gated") {
    RETURN_IF_ERROR(ParseGate(config.gate, variant));
  } else if (config.variant == "clipped_softmax") {
    variant.clip = ParseClip(config.clipped_softmax, length);
  } else if (config.variant == "learnable_sink") {
    RETURN_IF_ERROR(ParseSink(config.learnable_sink, variant));
  } else if (config.variant == "softmax_plus_one") {
    variant.sink = SoftmaxSink::kZero;
  } else if (config.variant == "relu") {
    variant.weights = AttentionWeights::kRelu;
  } else if (config.variant != "vanilla") {
    return UsageError("unknown model.attention.variant", config.variant,
                      "known: vanilla, gated, clipped_softmax, learnable_sink, softmax_plus_one, "
                      "relu");
  }
  return variant;
}

ops::AttentionVariant Ungated(ops::AttentionVariant variant) {
  variant.gate_site = GateSite::kNone;
  return variant;
}

}  // namespace sluice
