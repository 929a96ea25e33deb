// The table itself; nothing else. SLUICE_FIELD(model.hidden_size) gives the key and the member with
// one spelling.
#include <cstdint>
#include <limits>

#include "config/fields.h"

#define SLUICE_FIELD(member_path) \
#member_path, +[](RunConfig & config) -> auto& { return config.member_path; }

namespace sluice {
namespace {

constexpr int64_t kManySteps = 1'000'000'000'000;
constexpr int64_t kInt32 = std::numeric_limits<int32_t>::max();
constexpr double kLargestLossScale = 0x1p30;
constexpr RealRange kDropoutRange{0, 1, false, true};

const ReadWhen kGated{"model.attention.variant", {"gated"}};
const ReadWhen kFromTheSource{"model.attention.gate.predictor", {"linear"}};
const ReadWhen kPerceptron{"model.attention.gate.predictor", {"mlp"}};
const ReadWhen kHasWeights{"model.attention.gate.predictor", {"linear", "mlp"}};
const ReadWhen kClipped{"model.attention.variant", {"clipped_softmax"}};
const ReadWhen kMasked{"model.architecture", {"bert"}};
const ReadWhen kFromShards{"data.source", {"shards"}};
const ReadWhen kFromFiles{"data.source", {"shards", "nvidia_bert"}};
const ReadWhen kOpt{"model.architecture", {"opt"}};
const ReadWhen kGenerated{"data.source", {"bigram_backcopy"}};
const ReadWhen kAdamW{"optimizer.name", {"adamw"}};
const ReadWhen kSgd{"optimizer.name", {"sgd"}};
const ReadWhen kHalf{"training.precision", {"fp16"}};

std::vector<Field> ModelFields() {
  return {
      {SLUICE_FIELD(model.architecture), Choices{{"bert", "opt", "bigram_backcopy"}},
       "Which model is trained; bert fills in masked tokens, the others predict the next one"},
      {SLUICE_FIELD(model.vocab_size), IntegerRange{0, kInt32},
       "Rows of the token embedding; 0: as many as the training data has tokens, where it says so"},
      {SLUICE_FIELD(model.hidden_size), IntegerRange{1, 65536},
       "Width of the residual stream, features; a multiple of num_attention_heads"},
      {SLUICE_FIELD(model.num_hidden_layers), IntegerRange{1, 1024}, "Transformer layers"},
      {SLUICE_FIELD(model.num_attention_heads), IntegerRange{1, 1024},
       "Attention heads a layer; hidden_size / num_attention_heads must be 8 to 256"},
      {SLUICE_FIELD(model.intermediate_size), IntegerRange{1, 1048576},
       "Width of the feed-forward layer, features"},
      {SLUICE_FIELD(model.max_position_embeddings), IntegerRange{1, 1048576},
       "Rows of the position embedding: the longest sequence_length"},
      {SLUICE_FIELD(model.word_embed_proj_dim),
       IntegerRange{0, 65536},
       "Width of the token embedding, projected to hidden_size and back; 0: hidden_size",
       {kOpt}},
      {SLUICE_FIELD(model.type_vocab_size),
       IntegerRange{1, 1024},
       "Rows of the token type (segment) embedding",
       {kMasked}},
      {SLUICE_FIELD(model.hidden_act), Choices{{"gelu_erf", "gelu_tanh", "relu"}},
       "Activation of the feed-forward layer and of the head"},
      {SLUICE_FIELD(model.layer_norm_eps), RealRange{0, 0.1, true, false},
       "Added to the variance in every LayerNorm"},
      {SLUICE_FIELD(model.hidden_dropout_prob), kDropoutRange,
       "Dropout of attention output and feed-forward output, in BERT of embeddings too"},
      {SLUICE_FIELD(model.attention_probs_dropout_prob), kDropoutRange,
       "Dropout of the attention probabilities"},
      {SLUICE_FIELD(model.next_sentence_head),
       {},
       "Adds the pooler and the next-sentence classifier; needs data with sentence pairs",
       {kMasked}},
      {SLUICE_FIELD(model.initialization), Choices{{"paper_code", "paper_text"}},
       "paper_code: N(0, initializer_range), but query, key, value and gates U(±1/sqrt(fan_in)), "
       "biases included; paper_text: N(0, initializer_range) everywhere, biases 0"},
      {SLUICE_FIELD(model.initializer_range), RealRange{0, 10, true, false},
       "Standard deviation of the normal initial weights"},
  };
}

std::vector<Field> AttentionFields() {
  return {
      {SLUICE_FIELD(model.attention.variant),
       Choices{
           {"vanilla", "gated", "clipped_softmax", "learnable_sink", "softmax_plus_one", "relu"}},
       "Attention of every layer; docs/attention_variants.md defines each"},
      {SLUICE_FIELD(model.attention.gate.source),
       Choices{{"value", "input"}},
       "What the gate is computed from: value states (VGA) or the attention input (IGA)",
       {kGated, kHasWeights}},
      {SLUICE_FIELD(model.attention.gate.site),
       Choices{{"query", "key"}},
       "What the gate multiplies: a query's output (arXiv 2510.09017, eq. 17) or a key's value "
       "(eq. 4)",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.bias),
       {},
       "Adds a bias to the gate's logits",
       {kGated, kFromTheSource}},
      {SLUICE_FIELD(model.attention.gate.granularity),
       Choices{{"head", "channel"}},
       "One gate for each head, or for each of its channels",
       {kGated, kFromTheSource}},
      {SLUICE_FIELD(model.attention.gate.per_head_slice),
       {},
       "A head's gates read that head's features of the source only",
       {kGated, kFromTheSource}},
      {SLUICE_FIELD(model.attention.gate.initial_probability),
       RealRange{0, 1, false, true},
       "Where the bias makes the gates start; 0: the bias starts as the weights do",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.predictor),
       Choices{{"linear", "mlp", "free_scalar"}},
       "What makes the gate's logit: a linear layer on the source, a perceptron a head on the "
       "head's "
       "slice of it, or one learned number a head",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.predictor_hidden_size),
       IntegerRange{1, 1024},
       "Hidden units of each head's perceptron, with ReLU and biases",
       {kGated, kPerceptron}},
      {SLUICE_FIELD(model.attention.gate.temperature),
       RealRange{0, 1000, true, false},
       "The gate is sigmoid(logit / temperature)",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.layers),
       {},
       "Layers with gates, counted from 0, the others are vanilla; []: all",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.scale),
       {},
       "What the gate is multiplied with: a number above 0, or one_at_start: 1 / "
       "initial_probability, so that a model starts as it was without gates",
       {kGated}},
      {SLUICE_FIELD(model.attention.gate.initializer_range),
       RealRange{0, 10},
       "Standard deviation of the initial weights of the logit; 0: as the projections start",
       {kGated, kHasWeights}},
      {SLUICE_FIELD(model.attention.clipped_softmax.gamma),
       RealRange{-1, 0},
       "Added to the stretched probabilities before they are clipped to [0, 1]",
       {kClipped}},
      {SLUICE_FIELD(model.attention.clipped_softmax.zeta),
       RealRange{1, 2},
       "Probabilities are stretched by zeta - gamma",
       {kClipped}},
      {SLUICE_FIELD(model.attention.clipped_softmax.alpha),
       RealRange{0, 1000},
       "Above 0: gamma is -alpha / data.sequence_length",
       {kClipped}},
      {SLUICE_FIELD(model.attention.learnable_sink),
       Choices{{"logit", "token"}},
       "The sink of each head: a logit in the softmax's denominator, or a key and a value",
       {ReadWhen{"model.attention.variant", {"learnable_sink"}}}},
      {SLUICE_FIELD(model.attention.register_tokens), IntegerRange{0, 1024},
       "Learned embeddings before each sequence, which see and are seen; in no loss, no positions"},
  };
}

std::vector<Field> DataFields() {
  return {
      {SLUICE_FIELD(data.source), Choices{{"shards", "nvidia_bert", "bigram_backcopy"}},
       "Where sequences come from: token shards, HDF5 files of NVIDIA's BERT layout (masked and "
       "paired "
       "when they were made), or the Bigram-Backcopy task, which is generated"},
      {SLUICE_FIELD(data.train),
       {},
       "Training data: the shards' manifest.yaml or its folder; or a file of NVIDIA's BERT layout, "
       "a "
       "folder of them or a list of their names (.txt)",
       {kFromFiles},
       true},
      {SLUICE_FIELD(data.validation),
       {},
       "Validation sets, likewise; each gets its own perplexity",
       {kFromFiles}},
      {SLUICE_FIELD(data.validation_sequences),
       IntegerRange{0, kInt32},
       "Sequences of the generated validation set, the same for every run; 0: none",
       {kGenerated}},
      {SLUICE_FIELD(data.table),
       {},
       "Bigram table of the generated data: synthetic, or a UTF-8 text whose characters are "
       "counted",
       {kGenerated}},
      {SLUICE_FIELD(data.triggers),
       IntegerRange{1, 1000},
       "How many of the most frequent tokens are triggers",
       {kGenerated}},
      {SLUICE_FIELD(data.sequence_length), IntegerRange{2, 1048576}, "Tokens a row"},
      {SLUICE_FIELD(data.packing),
       Choices{{"contiguous", "blocks_of_1000_rows"}},
       "How documents become rows: contiguous wastes nothing; blocks_of_1000_rows drops each "
       "block's remainder, as the paper's code does",
       {kFromShards}},
      {SLUICE_FIELD(data.row_start),
       Choices{{"document", "every_row"}},
       "Where start symbols are: where the data has them, or also as the first token of every row, "
       "before sequence_length - 1 of the data ([CLS] where the vocabulary has one, else bos)",
       {kFromShards}},
      {SLUICE_FIELD(data.attention_across_documents),
       {},
       "Whether tokens attend to the other documents of their row",
       {kFromShards}},
      {SLUICE_FIELD(data.mlm_probability),
       RealRange{0, 1, true, false},
       "Chance of each non-special position to be a target of the masked language model; for files "
       "of "
       "NVIDIA's layout the one that they were made with, which weighs the next sentence",
       {kMasked}},
      {SLUICE_FIELD(data.mlm_mask_share),
       RealRange{0, 1},
       "Share of the targets that is replaced by [MASK]",
       {kMasked, kFromShards}},
      {SLUICE_FIELD(data.mlm_random_share),
       RealRange{0, 1},
       "Share of the targets that is replaced by a random token; the rest stay as they are",
       {kMasked, kFromShards}},
      {SLUICE_FIELD(data.prefetch_batches), IntegerRange{1, 1024},
       "Micro-batches prepared ahead by each rank"},
  };
}

std::vector<Field> OptimizationFields() {
  return {
      {SLUICE_FIELD(optimizer.name), Choices{{"adamw", "sgd"}}, "Update rule; sgd has momentum"},
      {SLUICE_FIELD(optimizer.learning_rate), RealRange{0, 10},
       "Peak learning rate, reached at the end of the warm-up"},
      {SLUICE_FIELD(optimizer.beta1),
       RealRange{0, 1, false, true},
       "Decay of the gradients' running mean, a step",
       {kAdamW}},
      {SLUICE_FIELD(optimizer.beta2),
       RealRange{0, 1, false, true},
       "Decay of the squared gradients' running mean, a step",
       {kAdamW}},
      {SLUICE_FIELD(optimizer.eps),
       RealRange{0, 1, true, false},
       "Added to the root of the squared gradients' mean",
       {kAdamW}},
      {SLUICE_FIELD(optimizer.momentum),
       RealRange{0, 1, false, true},
       "Decay of the sum of gradients that steps follow, a step; 0: they follow the gradient",
       {kSgd}},
      {SLUICE_FIELD(optimizer.weight_decay), RealRange{0, 100},
       "adamw: a step takes learning_rate * weight_decay of the weight off; sgd: that share of the "
       "weight is added to the gradient, behind clipping"},
      {SLUICE_FIELD(optimizer.no_decay),
       {},
       "Parameters whose name contains one of these do not decay"},
      {SLUICE_FIELD(optimizer.max_grad_norm), RealRange{0, 1e9},
       "Gradients are scaled down to this global L2 norm; 0: never"},
      {SLUICE_FIELD(schedule.shape), Choices{{"linear", "cosine", "constant"}},
       "Learning rate after the warm-up"},
      {SLUICE_FIELD(schedule.warmup_steps), IntegerRange{0, kManySteps},
       "Steps over which the learning rate rises linearly from 0"},
      {SLUICE_FIELD(schedule.final_fraction),
       RealRange{0, 1},
       "Learning rate at the last step, as a fraction of the peak",
       {{"schedule.shape", {"linear", "cosine"}}}},
  };
}

std::vector<Field> TrainingFields() {
  return {
      {SLUICE_FIELD(training.steps), IntegerRange{1, kManySteps}, "Optimizer updates in all"},
      {SLUICE_FIELD(training.global_batch_size), IntegerRange{1, kInt32},
       "Sequences an update, over all ranks and micro-batches: a multiple of ranks times "
       "gradient_accumulation_steps"},
      {SLUICE_FIELD(training.gradient_accumulation_steps), IntegerRange{1, 1048576},
       "Micro-batches a rank and update; more need less memory and give the same update"},
      {SLUICE_FIELD(training.precision), Choices{{"fp32", "bf16", "fp16"}},
       "Working weights and activations; master weights, gradients and statistics are fp32. fp16 "
       "needs runtime.device cuda"},
      {SLUICE_FIELD(training.loss_scale.initial),
       RealRange{0, kLargestLossScale, true, false},
       "What the loss's gradient is multiplied by at first; halved when gradients overflow",
       {kHalf}},
      {SLUICE_FIELD(training.loss_scale.growth_interval),
       IntegerRange{1, kManySteps},
       "Updates without an overflow after which the scale is doubled, up to 32768",
       {kHalf}},
      {SLUICE_FIELD(training.loss_scale.minimum),
       RealRange{0, kLargestLossScale, true, false},
       "Lowest scale; when gradients overflow at it the run ends",
       {kHalf}},
      {SLUICE_FIELD(training.seed), {}, "Seed of initial weights, dropout, masks and data order"},
      {SLUICE_FIELD(training.initial_weights),
       {},
       "A checkpoint, run folder or Hugging Face folder whose weights training starts from; what "
       "it "
       "lacks (gates, sinks, registers) is drawn; empty: all are"},
      {SLUICE_FIELD(training.evaluate_every), IntegerRange{0, kManySteps},
       "Steps between two evaluations; 0: only at the end"},
      {SLUICE_FIELD(training.evaluation_batches), IntegerRange{0, kManySteps},
       "Batches an evaluation takes, of the ranks' micro-batches together; 0: the whole set"},
      {SLUICE_FIELD(training.log_every), IntegerRange{1, kManySteps},
       "Steps between two log lines"},
  };
}

std::vector<Field> OperationFields() {
  return {
      {SLUICE_FIELD(checkpoint.every), IntegerRange{0, kManySteps},
       "Steps between two checkpoints; 0: only at the end"},
      {SLUICE_FIELD(checkpoint.keep_last), IntegerRange{1, 1000000},
       "How many of the newest checkpoints stay on disk"},
      {SLUICE_FIELD(checkpoint.keep_best),
       Choices{{"perplexity", "quantized_perplexity", "none"},
               {{"true", "perplexity"}, {"false", "none"}}},
       "Also keeps the checkpoint that is lowest in this, on the first validation set; perplexity "
       "is evaluated at each of them too, unless training.evaluate_every is 0; "
       "quantized_perplexity is telemetry.quantization_probe's. true is perplexity, false none"},
      {SLUICE_FIELD(telemetry.gate_statistics_every), IntegerRange{0, kManySteps},
       "Steps between two looks at the gates; 0: never"},
      {SLUICE_FIELD(telemetry.attention_statistics_every), IntegerRange{0, kManySteps},
       "Steps between two looks at attention, each with records of attention and gates; 0: never"},
      {SLUICE_FIELD(telemetry.statistics_sequences), IntegerRange{1, 1000000},
       "How many sequences looks at attention and activations are of: the first of the global "
       "batch"},
      {SLUICE_FIELD(telemetry.activation_statistics_every), IntegerRange{0, kManySteps},
       "Updates between two records of outliers in activations; 0: never"},
      {SLUICE_FIELD(telemetry.norm_statistics_every), IntegerRange{0, kManySteps},
       "Updates between two records of each parameter's gradient, update and weight norm; 0: "
       "never"},
      {SLUICE_FIELD(telemetry.attention_maps_every), IntegerRange{0, kManySteps},
       "Updates between two sets of attention maps, of the first validation set; 0: never"},
      {SLUICE_FIELD(telemetry.attention_map_sequences), IntegerRange{1, 1024},
       "First sequences that attention maps are drawn of, where none are named: one image a layer "
       "and head"},
      {SLUICE_FIELD(telemetry.attention_map_indices),
       {},
       "Sequences that attention maps are drawn of, counted from 0, in ascending order; []: the "
       "first telemetry.attention_map_sequences"},
      {SLUICE_FIELD(telemetry.attention_map_tokens), IntegerRange{1, 512},
       "Tokens of a sequence, from its first on, that attention maps are of"},
      {SLUICE_FIELD(telemetry.tensorboard), {}, "Event files for TensorBoard beside metrics.jsonl"},
      {SLUICE_FIELD(telemetry.bigram_backcopy_every_early),
       IntegerRange{0, kManySteps},
       "Steps between two records of sink, drain and risks up to step "
       "telemetry.bigram_backcopy_early_steps, without ablations; 0: never",
       {kGenerated}},
      {SLUICE_FIELD(telemetry.bigram_backcopy_early_steps),
       IntegerRange{0, kManySteps},
       "How long telemetry.bigram_backcopy_every_early holds",
       {kGenerated}},
      {SLUICE_FIELD(telemetry.bigram_backcopy_every),
       IntegerRange{0, kManySteps},
       "Steps between two records of sink, drain and risks on the validation set; 0: never",
       {kGenerated}},
      {SLUICE_FIELD(telemetry.quantization_probe),
       Choices{{"off", "auto", "bert", "opt"}, {{"true", "auto"}, {"false", "off"}}},
       "Perplexity with simulated 8-bit weights and activations at every checkpoint, on the first "
       "validation set: with this preset of sluice quantize; auto: that of the model's kind"},
      {SLUICE_FIELD(telemetry.quantization_probe_batches),
       IntegerRange{0, kManySteps},
       "Batches that it takes, of the preset's size (bert 32, opt 8); 0: the whole set",
       {{"telemetry.quantization_probe", {"auto", "bert", "opt"}}}},
      {SLUICE_FIELD(telemetry.alarms.sink_share), RealRange{0, 1},
       "Attention mass on the first token that no head may exceed unnoticed; 0: no alarm"},
      {SLUICE_FIELD(telemetry.alarms.max_abs), RealRange{0, 1e9},
       "Size of values in activations that may not be exceeded unnoticed; 0: no alarm"},
      {SLUICE_FIELD(runtime.device), Choices{{"cpu", "cuda"}},
       "Where the model runs: the processor, or a GPU for each rank"},
      {SLUICE_FIELD(runtime.attention_kernel), Choices{{"auto", "sluice", "cudnn"}},
       "Whose attention a GPU runs: our fused kernel, or cuDNN's where it can (else an error says "
       "why); auto: ours"},
      {SLUICE_FIELD(runtime.threads), IntegerRange{0, 4096},
       "Compute threads a rank; 0: as OMP_NUM_THREADS says, without it the cores of the machine "
       "shared among its ranks"},
      {SLUICE_FIELD(runtime.gradient_bucket_bytes), IntegerRange{4, 1073741824},
       "Gradient bytes that are reduced at a time while backward still runs"},
  };
}

std::vector<Field> MakeTable() {
  std::vector<Field> table = {
      {SLUICE_FIELD(name),
       {},
       "Name of the run: letters, digits, '.', '_', '-'; empty: the configuration file's name "
       "without its ending"},
  };
  for (auto make : {ModelFields, AttentionFields, DataFields, OptimizationFields, TrainingFields,
                    OperationFields}) {
    for (Field& field : make()) table.push_back(std::move(field));
  }
  return table;
}

}  // namespace

const std::vector<Field>& FieldTable() {
  static const std::vector<Field> table = MakeTable();
  return table;
}

}  // namespace sluice
