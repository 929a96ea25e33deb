// What tells one model from another, as data: the only place where BERT, OPT and the
// Bigram-Backcopy model differ. Everything else (language_model.h and its parts) is one code path.
//
// All of them are one chain: the sum of embeddings goes through an input LayerNorm, and then each
// layer adds two branches to the residual stream, attention and feed-forward, each followed by a
// LayerNorm. Where the stream goes on tells post-LN from pre-LN:
//
//   kPostNorm (BERT)   sum = y_before   + dropout(branch(y_before));  y = LayerNorm(sum)
//   kPreNorm (OPT)     sum = sum_before + dropout(branch(y_before));  y = LayerNorm(sum)
//
// so that OPT's self_attn_layer_norm of layer n + 1 is what follows the feed-forward of layer n,
// and its last one is the decoder's final_layer_norm.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "ops/activation.h"
#include "ops/attention_variant.h"
#include "runtime/parameter.h"

namespace sluice {

enum class NormPlacement { kPostNorm, kPreNorm };

// How the weights of a projection start; a bias follows its weight.
struct WeightInitialization {
  bool torch_linear = false;  // torch.nn.Linear's default: weight and bias U(±1/sqrt(in_features));
                              // false: weight N(0, range), bias 0
  double range = 0;

  InitialValues Weight(int64_t in_features) const;
  InitialValues Bias(int64_t in_features) const;
};

// Names of one layer's parameters without ".weight" and ".bias", as Hugging Face has them.
struct LayerNames {
  std::string attention;  // what gate, sink_key, … are parts of: "….attention.self"
  std::string query, key, value, attention_output;
  std::string attention_norm;  // follows the attention branch
  std::string up, down;
  std::string feed_forward_norm;  // follows the feed-forward branch
};

struct Architecture {
  std::string name;  // model.architecture
  NormPlacement norm_placement = NormPlacement::kPostNorm;
  bool causal = false;  // attention mask; each position predicts the next token
  bool projection_biases = true;
  Activation activation = Activation::kGeluErf;  // of feed-forward and head: model.hidden_act

  // Embeddings.
  int64_t position_offset = 0;  // row of the position table that position 0 uses
  int64_t embedding_size =
      0;  // E: width of the token table; projected to hidden_size when it differs
  bool token_types = false;
  bool embedding_dropout = false;  // behind the input LayerNorm
  int64_t padding_id = -1;         // row of the token table that starts at zero; -1: none

  // The head: [transform: Linear, activation, LayerNorm,] decoder with the token table or its own.
  bool head_transform = false;
  bool tied_decoder = true;
  bool decoder_bias = false;

  WeightInitialization embedding, attention_projections, attention_output, feed_forward, head;

  // Names.
  std::string token_table = "", position_table = "", segment_table = "", register_table = "";
  std::string project_in = "", input_norm = "";
  std::function<LayerNames(int layer)> layer_names;
  std::string head_transform_name = "", project_out = "";
  std::string decoder_weight = "", decoder_bias_name = "";
};

// UsageError for a configuration that names no architecture or contradicts the one it names.
absl::StatusOr<Architecture> DescribeArchitecture(const ModelConfig& config);

// The attention variant that a configuration names; `length` is data.sequence_length, the T of
// clipped softmax's alpha. UsageError lists the known ones. Of layers that are gated.
absl::StatusOr<ops::AttentionVariant> ParseAttentionVariant(const AttentionConfig& config,
                                                            int64_t length);
// The same without its gate.
ops::AttentionVariant Ungated(ops::AttentionVariant variant);

}  // namespace sluice
