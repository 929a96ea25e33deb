#include "train/huggingface_config.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "config/dump.h"
#include "config/load.h"
#include "core/error.h"
#include "core/status.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

constexpr char kMaskedLm[] = "BertForMaskedLM";
constexpr char kPreTraining[] = "BertForPreTraining";  // with the next-sentence head

// Keys of `model` that config.json has under the same name.
constexpr const char* kSharedKeys[] = {"vocab_size",          "hidden_size",
                                       "num_hidden_layers",   "num_attention_heads",
                                       "intermediate_size",   "max_position_embeddings",
                                       "type_vocab_size",     "layer_norm_eps",
                                       "hidden_dropout_prob", "attention_probs_dropout_prob",
                                       "initializer_range"};
// What config.json may leave out that ModelConfig's own defaults do not give.
constexpr int64_t kDefaultVocabSize = 30522;

// The sections of `sluice`, each a part of `model` in our configuration.
constexpr const char* kOwnKeys[] = {"attention", "initialization"};

struct ActivationName {
  const char* theirs;
  const char* ours;
};
// The first of those with one meaning is written.
constexpr ActivationName kActivations[] = {{"gelu", "gelu_erf"},
                                           {"gelu_new", "gelu_tanh"},
                                           {"gelu_pytorch_tanh", "gelu_tanh"},
                                           {"relu", "relu"}};

// Keys that must have this value where they are given: what makes another model of it.
struct FixedKey {
  const char* key;
  Json value;
};
const std::vector<FixedKey>& FixedKeys() {
  static const std::vector<FixedKey> keys = {{"model_type", "bert"},
                                             {"position_embedding_type", "absolute"},
                                             {"is_decoder", false},
                                             {"is_encoder_decoder", false},
                                             {"add_cross_attention", false},
                                             {"chunk_size_feed_forward", 0},
                                             {"pruned_heads", Json::object()},
                                             {"tie_word_embeddings", true}};
  return keys;
}

// A YAML node as JSON: quoted scalars are texts, others numbers and truth values where they can be.
Json JsonOf(const YAML::Node& node) {
  if (node.IsMap()) {
    Json object = Json::object();
    for (const auto& entry : node) object[entry.first.Scalar()] = JsonOf(entry.second);
    return object;
  }
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const auto& entry : node) list.push_back(JsonOf(entry));
    return list;
  }
  const std::string text = node.IsScalar() ? node.Scalar() : "";
  int64_t integer = 0;
  double real = 0;
  if (node.Tag() == "!") return text;
  if (text == "true" || text == "false") return text == "true";
  if (absl::SimpleAtoi(text, &integer)) return integer;
  if (absl::SimpleAtod(text, &real)) return real;
  return text;
}

absl::Status Unsupported(const std::string& path, absl::string_view values) {
  return CheckpointError("is of a model that cannot be imported", path, values);
}

absl::Status CheckFixedKeys(const Json& file, const std::string& path) {
  if (!file.contains("model_type")) return CheckpointError("a key is missing", path, "model_type");
  for (const FixedKey& fixed : FixedKeys()) {
    const auto found = file.find(fixed.key);
    if (found == file.end() || *found == fixed.value) continue;
    return Unsupported(
        path, absl::StrCat(fixed.key, ": ", found->dump(), ", known: ", fixed.value.dump()));
  }
  if (file.contains("quantization_config")) {
    return Unsupported(path, "quantization_config: weights must be F32, F16 or BF16");
  }
  return absl::OkStatus();
}

// Whether the file is of a model with the next-sentence head.
absl::StatusOr<bool> ReadArchitecture(const Json& file, const std::string& path) {
  const Json architectures = file.value("architectures", Json::array({kMaskedLm}));
  if (architectures == Json::array({kMaskedLm})) return false;
  if (architectures == Json::array({kPreTraining})) return true;
  return Unsupported(path, absl::StrCat("architectures: ", architectures.dump(), ", known: [\"",
                                        kMaskedLm, "\"], [\"", kPreTraining, "\"]"));
}

absl::StatusOr<std::string> ReadActivation(const Json& file, const std::string& path) {
  const Json name = file.value("hidden_act", Json("gelu"));
  std::string known;
  for (const ActivationName& activation : kActivations) {
    if (name == activation.theirs) return activation.ours;
    absl::StrAppend(&known, known.empty() ? "" : ", ", activation.theirs);
  }
  return Unsupported(path, absl::StrCat("hidden_act: ", name.dump(), ", known: ", known));
}

// Copies the sections under `sluice` into `model`.
absl::Status ReadOwnKeys(const Json& file, const std::string& path, Json& model) {
  const auto own = file.find("sluice");
  if (own == file.end()) return absl::OkStatus();
  if (!own->is_object()) return CheckpointError("sluice is not an object", path, own->dump());
  for (const auto& [key, value] : own->items()) {
    if (std::ranges::find(kOwnKeys, key) == std::end(kOwnKeys)) {
      return CheckpointError("unknown key", path, absl::StrCat("sluice.", key));
    }
    model[key] = value;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> ConfigToHuggingFace(const RunConfig& config, int32_t pad_id) {
  const YAML::Node own = YAML::Load(DumpRunConfig(config))["model"];
  Json file = {{"architectures", {config.model.next_sentence_head ? kPreTraining : kMaskedLm}},
               {"dtype", "float32"},
               {"torch_dtype", "float32"}};
  for (const FixedKey& fixed : FixedKeys()) file[fixed.key] = fixed.value;
  for (const ActivationName& activation : kActivations) {
    if (config.model.hidden_act != activation.ours) continue;
    file["hidden_act"] = activation.theirs;
    break;
  }
  if (!file.contains("hidden_act")) {
    return UsageError("Hugging Face has no such activation", config.model.hidden_act);
  }
  for (const char* key : kSharedKeys) file[key] = JsonOf(own[key]);
  file["pad_token_id"] = pad_id < 0 ? Json() : Json(pad_id);
  for (const char* key : kOwnKeys) file["sluice"][key] = JsonOf(own[key]);
  return file;
}

absl::StatusOr<RunConfig> ConfigFromHuggingFace(const std::string& path) {
  ASSIGN_OR_RETURN(const Json file, ReadJsonFile(path));
  RETURN_IF_ERROR(CheckFixedKeys(file, path));
  Json model = {{"architecture", "bert"}, {"vocab_size", kDefaultVocabSize}};
  ASSIGN_OR_RETURN(model["next_sentence_head"], ReadArchitecture(file, path));
  ASSIGN_OR_RETURN(model["hidden_act"], ReadActivation(file, path));
  for (const char* key : kSharedKeys) {
    if (const auto value = file.find(key); value != file.end()) model[key] = *value;
  }
  RETURN_IF_ERROR(ReadOwnKeys(file, path, model));
  Json document = {{"name", "imported"}, {"model", model}, {"training", {{"precision", "fp32"}}}};
  const Json positions = file.value("max_position_embeddings", Json(512));
  if (positions.is_number_integer()) {
    document["data"]["sequence_length"] =
        std::min(DataConfig().sequence_length, positions.get<int64_t>());
  }
  // One line, and a name of its own: lines of this text are none of the file's.
  absl::StatusOr<RunConfig> config =
      ParseRunConfig(document.dump(), "its configuration", ConfigUse::kInspection);
  if (config.ok() && config->model.vocab_size > 0) return config;
  return Unsupported(path, config.ok() ? "vocab_size: 0" : config.status().message());
}

}  // namespace sluice
