#include "config/validate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/fields.h"
#include "config/value.h"
#include "core/check.h"
#include "core/error.h"

namespace sluice {
namespace {

class RuleBook {
 public:
  RuleBook(const RunConfig& config, const Provenance& provenance, Problems* problems)
      : config_(config), provenance_(provenance), problems_(problems) {}

  // A problem unless `holds`; it names every key of the rule with its value and origin.
  void Require(bool holds, absl::string_view what, const std::vector<std::string>& keys,
               absl::string_view advice = "") {
    if (holds) return;
    std::vector<std::string> shown;
    for (const std::string& key : keys) {
      if (provenance_.unusable.count(key) != 0) return;
      shown.push_back(Describe(key));
    }
    if (!advice.empty()) shown.emplace_back(advice);
    problems_->Add(what, absl::StrJoin(shown, ", "), "");
  }

  bool IsSet(const std::string& key) const { return provenance_.set_at.count(key) != 0; }

  // "model.hidden_size 770 (configs/x.yaml:14)".
  std::string Describe(const std::string& key) const {
    const Field* field = FindField(key);
    CHECK(field != nullptr) << "rule about the unknown key " << key;
    const auto set = provenance_.set_at.find(key);
    const std::string origin = set != provenance_.set_at.end() ? set->second
                               : provenance_.set_at.empty()    ? ""
                                                               : "default";
    return absl::StrCat(key, " ", FormatValue(*field, config_),
                        origin.empty() ? "" : absl::StrCat(" (", origin, ")"));
  }

 private:
  const RunConfig& config_;
  const Provenance& provenance_;
  Problems* problems_;
};

bool IsFolderName(const std::string& name) {
  const bool characters = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
  return characters && name.size() <= 100 && name != "." && name != "..";
}

void CheckEveryField(const RunConfig& config, ConfigUse use, RuleBook* rules) {
  for (const Field& field : FieldTable()) {
    rules->Require(InRange(field, config), "out of range", {field.key},
                   absl::StrCat("expected ", DescribeExpected(field)));
    const ReadWhen* failed = FailedCondition(field, config);
    if (failed != nullptr && rules->IsSet(field.key)) {
      rules->Require(false, "key would be ignored", {field.key, failed->key},
                     absl::StrCat("read only when ", failed->key, " is ",
                                  absl::StrJoin(failed->values, " or ")));
    }
    if (use == ConfigUse::kTraining && field.needed_to_train && failed == nullptr) {
      rules->Require(
          !ValueOf<std::string>(field, config).empty(), "missing key", {field.key},
          absl::StrCat("set it in the file or with ", field.key, "=…: ", field.description));
    }
  }
  rules->Require(IsFolderName(config.name), "not a name for a run", {"name"},
                 "expected at most 100 letters, digits, '.', '_' or '-'");
}

void CheckGate(const ModelConfig& model, RuleBook* rules) {
  const GateConfig& gate = model.attention.gate;
  const std::string probability = "model.attention.gate.initial_probability";
  rules->Require(gate.bias || gate.predictor != "linear" || gate.initial_probability == 0,
                 "only a bias can make the gates start somewhere",
                 {probability, "model.attention.gate.bias"});
  const std::vector<std::string> layers = {"model.attention.gate.layers"};
  for (size_t i = 0; i < gate.layers.size(); ++i) {
    const int64_t layer = gate.layers[i];
    rules->Require(layer >= 0 && layer < model.num_hidden_layers, "no such layer",
                   {layers[0], "model.num_hidden_layers"});
    rules->Require(i == 0 || gate.layers[i - 1] < layer, "layers are not in ascending order",
                   layers);
  }
  if (gate.scale == "one_at_start") {
    rules->Require(GateStart(gate) > 0, "the gate starts at no known value",
                   {"model.attention.gate.scale", probability}, absl::StrCat("set ", probability));
  } else {
    const double scale = GateScale(gate);
    rules->Require(std::isfinite(scale) && scale > 0, "unknown value",
                   {"model.attention.gate.scale"}, "expected a number above 0 or one_at_start");
  }
}

void CheckModel(const ModelConfig& model, RuleBook* rules) {
  constexpr int64_t kSmallestHead = 8;
  constexpr int64_t kLargestHead = 256;
  const std::vector<std::string> head_keys = {"model.hidden_size", "model.num_attention_heads"};
  if (model.num_attention_heads > 0) {
    const bool divides = model.hidden_size % model.num_attention_heads == 0;
    const int64_t head_size = model.hidden_size / model.num_attention_heads;
    rules->Require(divides, "hidden size is not divisible by the number of heads", head_keys);
    rules->Require(!divides || (head_size >= kSmallestHead && head_size <= kLargestHead),
                   "head size is not from 8 to 256", head_keys,
                   absl::StrCat("head size ", head_size));
  }
  if (model.attention.variant == "gated") CheckGate(model, rules);
  const ClippedSoftmaxConfig& clip = model.attention.clipped_softmax;
  const bool clipped = model.attention.variant == "clipped_softmax";
  rules->Require(!clipped || clip.alpha > 0 || clip.gamma < 0 || clip.zeta > 1,
                 "the softmax would not be clipped",
                 {"model.attention.clipped_softmax.gamma", "model.attention.clipped_softmax.zeta"});
  rules->Require(
      clip.alpha == 0 || clip.gamma == ClippedSoftmaxConfig().gamma,
      "alpha and gamma say the same thing twice",
      {"model.attention.clipped_softmax.alpha", "model.attention.clipped_softmax.gamma"});
  rules->Require(!model.next_sentence_head || model.type_vocab_size >= 2,
                 "the next sentence needs a token type of its own",
                 {"model.next_sentence_head", "model.type_vocab_size"});
}

// What the data asks for, and what it leaves out.
void CheckSource(const RunConfig& config, ConfigUse use, RuleBook* rules) {
  const std::string& source = config.data.source;
  const bool masked = ObjectiveOf(config.model) == Objective::kMasked;
  rules->Require(source != "nvidia_bert" || masked,
                 "the data asks for masked tokens, the model for the next ones",
                 {"data.source", "model.architecture"});
  rules->Require(source != "bigram_backcopy" || !masked,
                 "the data asks for the next tokens, the model for masked ones",
                 {"data.source", "model.architecture"});
  rules->Require(!config.model.next_sentence_head || source == "nvidia_bert",
                 "the next sentence needs data with sentence pairs",
                 {"model.next_sentence_head", "data.source"}, "data.source nvidia_bert has them");
  rules->Require(
      use != ConfigUse::kTraining || source != "nvidia_bert" || config.model.vocab_size > 0,
      "the data does not say how large its vocabulary is", {"model.vocab_size", "data.source"},
      "set model.vocab_size");
}

void CheckData(const RunConfig& config, RuleBook* rules) {
  const DataConfig& data = config.data;
  rules->Require(data.sequence_length <= config.model.max_position_embeddings,
                 "rows are longer than the position embedding",
                 {"data.sequence_length", "model.max_position_embeddings"});
  constexpr double kRounding = 1e-12;  // 0.7 + 0.3 and the like may miss 1 by an ulp
  rules->Require(data.mlm_mask_share + data.mlm_random_share <= 1 + kRounding,
                 "shares of the targets sum to more than 1",
                 {"data.mlm_mask_share", "data.mlm_random_share"});
  const bool generated = data.source == "bigram_backcopy";
  const std::string validation = generated ? "data.validation_sequences" : "data.validation";
  const bool validates = generated ? data.validation_sequences > 0 : !data.validation.empty();
  rules->Require(validates || config.training.evaluate_every == 0, "nothing to evaluate on",
                 {"training.evaluate_every", validation});
  rules->Require(validates || config.training.evaluation_batches == 0, "nothing to evaluate on",
                 {"training.evaluation_batches", validation});
  const TelemetryConfig& telemetry = config.telemetry;
  const bool looks =
      telemetry.bigram_backcopy_every > 0 || telemetry.bigram_backcopy_every_early > 0;
  rules->Require(validates || !looks, "nothing to measure sinks on",
                 {"telemetry.bigram_backcopy_every", validation});
  rules->Require(validates || telemetry.attention_maps_every == 0,
                 "nothing to draw attention maps of",
                 {"telemetry.attention_maps_every", validation});
  rules->Require(telemetry.alarms.max_abs == 0 || telemetry.activation_statistics_every > 0,
                 "an alarm on what is not looked at",
                 {"telemetry.alarms.max_abs", "telemetry.activation_statistics_every"});
  rules->Require(telemetry.alarms.sink_share == 0 || telemetry.attention_statistics_every > 0,
                 "an alarm on what is not looked at",
                 {"telemetry.alarms.sink_share", "telemetry.attention_statistics_every"});
  rules->Require(!looks || config.model.architecture == "bigram_backcopy",
                 "sinks are measured in a model without biases",
                 {"telemetry.bigram_backcopy_every", "model.architecture"});
  rules->Require(
      (telemetry.bigram_backcopy_every_early > 0) == (telemetry.bigram_backcopy_early_steps > 0),
      "one without the other says nothing",
      {"telemetry.bigram_backcopy_every_early", "telemetry.bigram_backcopy_early_steps"});
}

void CheckAttentionMaps(const RunConfig& config, RuleBook* rules) {
  const TelemetryConfig& telemetry = config.telemetry;
  const std::vector<int64_t>& indices = telemetry.attention_map_indices;
  const std::string indices_key = "telemetry.attention_map_indices",
                    sequences_key = "telemetry.attention_map_sequences";
  rules->Require(indices.empty() || indices.front() >= 0, "no such sequence", {indices_key});
  rules->Require(std::ranges::adjacent_find(indices, std::greater_equal<>()) == indices.end(),
                 "sequences are not in ascending order", {indices_key});
  const auto chosen = static_cast<int64_t>(indices.size());
  rules->Require(chosen == 0 || telemetry.attention_maps_every > 0,
                 "sequences for attention maps that are never drawn",
                 {indices_key, "telemetry.attention_maps_every"});
  rules->Require(chosen == 0 || telemetry.attention_map_sequences == 1 ||
                     telemetry.attention_map_sequences == chosen,
                 "another number of sequences than are named", {sequences_key, indices_key});
  constexpr int64_t kMostNumbers = 1 << 25;  // of 7 bytes: what `sluice report` reads
  const int64_t sequences = chosen > 0 ? chosen : telemetry.attention_map_sequences;
  const int64_t tokens = std::min(telemetry.attention_map_tokens, config.data.sequence_length);
  const int64_t numbers = sequences * tokens * tokens * config.model.num_hidden_layers *
                          config.model.num_attention_heads;
  rules->Require(telemetry.attention_maps_every == 0 || numbers <= kMostNumbers,
                 "attention maps of more than 33554432 numbers in all",
                 {chosen > 0 ? indices_key : sequences_key, "telemetry.attention_map_tokens",
                  "model.num_hidden_layers", "model.num_attention_heads"},
                 absl::StrCat("these are ", numbers));
}

void CheckQuantizationProbe(const RunConfig& config, RuleBook* rules) {
  const bool probes = config.telemetry.quantization_probe != "off";
  const bool generated = config.data.source == "bigram_backcopy";
  const std::string validation = generated ? "data.validation_sequences" : "data.validation";
  const bool validates =
      generated ? config.data.validation_sequences > 0 : !config.data.validation.empty();
  rules->Require(validates || !probes, "nothing to measure quantization on",
                 {"telemetry.quantization_probe", validation});
  rules->Require(probes || config.checkpoint.keep_best != "quantized_perplexity",
                 "nothing measures what is to be kept",
                 {"checkpoint.keep_best", "telemetry.quantization_probe"},
                 "set telemetry.quantization_probe to auto");
  const int64_t projected = config.model.word_embed_proj_dim;
  rules->Require(!probes || projected == 0 || projected == config.model.hidden_size,
                 "quantization of a model with projected embeddings is not defined",
                 {"telemetry.quantization_probe", "model.word_embed_proj_dim"});
}

void CheckPrecision(const RunConfig& config, ConfigUse use, RuleBook* rules) {
  const bool is_half = config.training.precision == "fp16";
  rules->Require(use != ConfigUse::kTraining || !is_half || config.runtime.device != "cpu",
                 "CPUs have no fp16 kernels", {"training.precision", "runtime.device"},
                 "set training.precision to bf16, or runtime.device to cuda");
  rules->Require(config.training.loss_scale.minimum <= config.training.loss_scale.initial,
                 "the loss scale would start below its minimum",
                 {"training.loss_scale.initial", "training.loss_scale.minimum"});
}

void CheckTraining(const RunConfig& config, RuleBook* rules) {
  rules->Require(config.schedule.warmup_steps <= config.training.steps,
                 "warm-up is longer than the training",
                 {"schedule.warmup_steps", "training.steps"});
  const int64_t micro_batches = config.training.gradient_accumulation_steps;
  if (micro_batches > 0) {
    rules->Require(config.training.global_batch_size % micro_batches == 0,
                   "batch cannot be split into micro-batches",
                   {"training.global_batch_size", "training.gradient_accumulation_steps"});
  }
}

}  // namespace

void FindProblems(const RunConfig& config, const Provenance& provenance, ConfigUse use,
                  Problems* problems) {
  RuleBook rules(config, provenance, problems);
  CheckEveryField(config, use, &rules);
  CheckModel(config.model, &rules);
  CheckSource(config, use, &rules);
  CheckData(config, &rules);
  CheckAttentionMaps(config, &rules);
  CheckQuantizationProbe(config, &rules);
  CheckPrecision(config, use, &rules);
  CheckTraining(config, &rules);
}

absl::Status ValidateRunConfig(const RunConfig& config, ConfigUse use) {
  Problems problems;
  FindProblems(config, Provenance(), use, &problems);
  return problems.ToStatus("configuration");
}

absl::Status ValidateWorldSize(const RunConfig& config, int world_size) {
  CHECK_GE(world_size, 1);
  const int64_t batch = config.training.global_batch_size;
  const int64_t micro_batches = config.training.gradient_accumulation_steps;
  const int64_t shares = world_size * micro_batches;
  CHECK_GT(shares, 0) << "validate the config first";
  if (batch % shares == 0) return absl::OkStatus();
  const int64_t below = batch / shares * shares;
  const std::string nearest =
      below > 0 ? absl::StrCat("the nearest sizes that can: ", below, " and ", below + shares)
                : absl::StrCat("the nearest size that can: ", shares);
  return UsageError(
      "batch cannot be shared evenly among the ranks",
      absl::StrCat("training.global_batch_size ", batch, ", ", world_size,
                   " ranks x training.gradient_accumulation_steps ", micro_batches, ", ", nearest));
}

}  // namespace sluice
