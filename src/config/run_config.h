// Everything that a run can be told, with its defaults. One YAML file (plus key.path=value
// overrides) becomes one RunConfig; the resolved form is written to the run folder and into every
// checkpoint. docs/config_reference.md is generated from the field table in
// config/field_table.cc, which also carries each key's one-line description and range. Read one
// with config/load.h, write one with config/dump.h; two are equal when every key is.
//
// Lengths of time are counted in optimizer updates ("steps"), never in micro-batches. Sizes in
// tokens, sequences or bytes say so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// model.attention.gate: read only when the variant is `gated`.
struct GateConfig {
  std::string source = "value";  // value (VGA) or input (IGA)
  std::string site = "query";    // query (arXiv 2510.09017, eq. 17) or key (eq. 4)
  bool bias = false;
  std::string granularity = "head";  // one gate a head, or a channel
  bool per_head_slice = false;       // a head's gates read its own features of the source only
  double initial_probability = 0;  // of the gate, by its bias; 0: the bias starts as the weights do
  // What makes the logit: linear (of the source), mlp (a perceptron a head on its slice, arXiv
  // 2306.12929) or free_scalar (a learned number a head, whatever the source).
  std::string predictor = "linear";
  int64_t predictor_hidden_size = 16;  // mlp: units a head
  double temperature = 1;              // gate = sigmoid(logit / temperature)
  std::vector<int64_t> layers = {};    // that are gated; empty: all
  std::string scale = "1";             // of the gate: a number, or one_at_start
  double initializer_range = 0;  // N(0, range) for the logit's weights; 0: as the projections start

  friend bool operator==(const GateConfig&, const GateConfig&) = default;
};

// model.attention.clipped_softmax: read only when the variant is `clipped_softmax`. P' = clip((zeta
// - gamma) P + gamma, 0, 1), arXiv 2306.12929, eq. 4.
struct ClippedSoftmaxConfig {
  double gamma = -0.025;
  double zeta = 1;
  double alpha = 0;  // above 0: gamma = -alpha / data.sequence_length instead

  friend bool operator==(const ClippedSoftmaxConfig&, const ClippedSoftmaxConfig&) = default;
};

// Where every gate starts when weights say nothing: initial_probability, or one half of a logit
// without a bias; 0: a random bias decides.
double GateStart(const GateConfig& gate);
// `scale` as a number: one_at_start is 1 / GateStart. 0 where that is unknown or the text is none.
double GateScale(const GateConfig& gate);

struct AttentionConfig {
  // vanilla, gated, clipped_softmax, learnable_sink, softmax_plus_one or relu
  std::string variant = "vanilla";
  GateConfig gate;
  ClippedSoftmaxConfig clipped_softmax;
  std::string learnable_sink =
      "logit";                  // logit (in the softmax's denominator) or token (key, value)
  int64_t register_tokens = 0;  // learned embeddings before each sequence; with any variant

  friend bool operator==(const AttentionConfig&, const AttentionConfig&) = default;
};

// Whether layer `layer`, counted from 0, has gates.
bool IsGated(const AttentionConfig& attention, int64_t layer);

// Defaults are BERT-base's. Names follow Hugging Face's BertConfig.
struct ModelConfig {
  std::string architecture = "bert";  // bert (masked), opt or bigram_backcopy (causal)
  int64_t vocab_size = 0;             // 0: taken from the training data
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  int64_t max_position_embeddings = 512;
  int64_t word_embed_proj_dim = 0;  // opt: width of the token table; 0: hidden_size
  int64_t type_vocab_size = 2;
  std::string hidden_act = "gelu_erf";  // gelu_erf, gelu_tanh or relu
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;  // embeddings, attention output, feed-forward output
  double attention_probs_dropout_prob = 0.1;
  bool next_sentence_head = false;  // pooler and classifier; needs data with sentence pairs
  // paper_code: N(0, initializer_range), but query, key, value and gates as torch.nn.Linear's
  // default, U(±1/sqrt(fan_in)), biases included; paper_text: N(0, initializer_range) everywhere,
  // biases 0.
  std::string initialization = "paper_code";
  double initializer_range = 0.02;
  AttentionConfig attention;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// What a model is asked. The architecture decides it: an encoder sees what a causal target asks
// for.
enum class Objective {
  kMasked,  // tokens that were hidden
  kCausal,  // the token that follows
};

inline Objective ObjectiveOf(const ModelConfig& model) {
  return model.architecture == "bert" ? Objective::kMasked : Objective::kCausal;
}

struct DataConfig {
  std::string source = "shards";  // shards, nvidia_bert or bigram_backcopy
  std::string train;              // manifest.yaml of the shards, or its folder; NVIDIA's files
  std::vector<std::string> validation;  // manifests; each gets its own perplexity
  int64_t validation_sequences = 512;   // generated, instead of `validation`
  std::string table = "synthetic";      // bigram_backcopy: or a text, whose characters are counted
  int64_t triggers = 3;                 // bigram_backcopy: the most frequent tokens
  int64_t sequence_length = 128;        // tokens a row
  std::string packing = "contiguous";   // contiguous (wastes nothing) or blocks_of_1000_rows (the
                                        // paper's: remainders dropped)
  std::string row_start = "document";   // document (where documents begin) or every_row
  bool attention_across_documents = true;
  double mlm_probability = 0.15;  // chance of each non-special position to be a target
  double mlm_mask_share = 0.8;    // of the targets: replaced by [MASK]
  double mlm_random_share =
      0.1;  // of the targets: replaced by a random id; the rest stay as they are
  int64_t prefetch_batches = 4;  // micro-batches prepared ahead

  friend bool operator==(const DataConfig&, const DataConfig&) = default;
};

struct OptimizerConfig {
  std::string name = "adamw";  // adamw or sgd
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double momentum = 0.9;  // of sgd
  double weight_decay = 0.01;
  // Parameters whose name contains one of these do not decay.
  std::vector<std::string> no_decay = {"bias", "LayerNorm.weight"};
  double max_grad_norm = 1.0;  // global L2 norm; 0 switches clipping off

  friend bool operator==(const OptimizerConfig&, const OptimizerConfig&) = default;
};

struct LearningRateScheduleConfig {
  std::string shape = "linear";  // linear, cosine or constant, after the warm-up
  int64_t warmup_steps = 0;
  double final_fraction = 0;  // of the peak, reached at training.steps

  friend bool operator==(const LearningRateScheduleConfig&,
                         const LearningRateScheduleConfig&) = default;
};

// training.loss_scale: read only when the precision is fp16.
struct LossScaleConfig {
  double initial = 4096;
  int64_t growth_interval = 2000;  // updates without an overflow before it is doubled
  double minimum = 1;              // an overflow at this ends the run

  friend bool operator==(const LossScaleConfig&, const LossScaleConfig&) = default;
};

struct TrainingConfig {
  int64_t steps = 1000;
  int64_t global_batch_size = 256;          // sequences an update, over all ranks and micro-batches
  int64_t gradient_accumulation_steps = 1;  // micro-batches a rank and update
  std::string precision = "bf16";  // fp32, bf16 or, on a GPU, fp16 (fp32 master weights, gradients
                                   // and statistics in any case)
  LossScaleConfig loss_scale;
  uint64_t seed = 1000;
  // A checkpoint, run folder or Hugging Face folder whose weights training starts from; none:
  // drawn.
  std::string initial_weights;
  int64_t evaluate_every = 0;  // steps; 0: only at the end
  int64_t evaluation_batches =
      0;                  // of the rank's micro-batch size, all ranks together; 0: the whole set
  int64_t log_every = 1;  // steps

  friend bool operator==(const TrainingConfig&, const TrainingConfig&) = default;
};

struct CheckpointConfig {
  int64_t every = 0;  // steps; 0: only at the end
  int64_t keep_last = 2;
  // By what the best one is told, on the first validation set: perplexity, quantized_perplexity or
  // none; true and false are read as the first and the last.
  std::string keep_best = "perplexity";

  friend bool operator==(const CheckpointConfig&, const CheckpointConfig&) = default;
};

// Thresholds; 0: no alarm.
struct AlarmConfig {
  double sink_share = 0;  // attention mass that any head puts on the first token
  double max_abs = 0;     // of any tensor that activation statistics look at

  friend bool operator==(const AlarmConfig&, const AlarmConfig&) = default;
};

struct TelemetryConfig {
  int64_t gate_statistics_every = 10;  // steps between two looks at the gates; 0: never
  // Updates between two looks at attention, each of which makes a record, one of gates too; 0:
  // never. Of such an update the first sequences are looked at.
  int64_t attention_statistics_every = 100;
  int64_t statistics_sequences = 2;
  int64_t activation_statistics_every =
      100;                              // updates between two looks at such sequences; 0: never
  int64_t norm_statistics_every = 100;  // of each parameter; 0: never
  int64_t attention_maps_every = 0;     // updates between two sets of maps; 0: never
  // Of the first validation set: so many of the first sequences, or these, counted from 0.
  int64_t attention_map_sequences = 1;
  std::vector<int64_t> attention_map_indices = {};
  int64_t attention_map_tokens = 64;  // of each, from its first on
  bool tensorboard = true;            // event files beside metrics.jsonl
  // The metrics of docs/bigram_backcopy.md, steps between two: early on, and behind
  // bigram_backcopy_early_steps; 0: never.
  int64_t bigram_backcopy_every_early = 0;
  int64_t bigram_backcopy_early_steps = 0;
  int64_t bigram_backcopy_every = 0;
  // W8A8 perplexity at every checkpoint, on the first validation set: off, auto, bert or opt.
  std::string quantization_probe = "off";
  int64_t quantization_probe_batches = 16;  // of the preset's size; 0: the whole set
  AlarmConfig alarms;

  friend bool operator==(const TelemetryConfig&, const TelemetryConfig&) = default;
};

struct RuntimeConfig {
  std::string device = "cpu";             // cpu or cuda
  std::string attention_kernel = "auto";  // on a GPU: auto, sluice or cudnn
  int64_t threads = 0;  // a rank; 0: the cores of this machine shared among its ranks
  int64_t gradient_bucket_bytes = 16777216;  // what is reduced at a time while backward still runs

  friend bool operator==(const RuntimeConfig&, const RuntimeConfig&) = default;
};

struct RunConfig {
  std::string name;  // default: the configuration file's name without its ending
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  LearningRateScheduleConfig schedule;
  TrainingConfig training;
  CheckpointConfig checkpoint;
  TelemetryConfig telemetry;
  RuntimeConfig runtime;

  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

}  // namespace sluice
