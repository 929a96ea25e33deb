#include "train/huggingface_config.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "config/dump.h"
#include "config/load.h"
#include "core/error.h"
#include "core/status.h"
#include "train/clipped_softmax_gamma.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

constexpr char kMaskedLm[] = "BertForMaskedLM";
constexpr char kPreTraining[] = "BertForPreTraining";  // with the next-sentence head
constexpr char kCausalLm[] = "OPTForCausalLM";
// torch.nn.LayerNorm's default, which OPT's config.json has no key for.
constexpr double kOptLayerNormEps = 1e-5;

// The sections of `sluice`, each a part of `model` in our configuration.
constexpr const char* kOwnKeys[] = {"attention", "initialization"};
// One more, and its keys, each one of `data` in our configuration: how text becomes rows, which
// transformers leaves to whoever has the text.
constexpr char kRows[] = "data";
constexpr const char* kRowKeys[] = {"sequence_length", "packing", "row_start",
                                    "attention_across_documents"};

struct Name {
  const char* theirs;
  const char* ours;
};
// The first of those with one meaning is written.
constexpr Name kActivations[] = {{"gelu", "gelu_erf"},
                                 {"gelu_new", "gelu_tanh"},
                                 {"gelu_pytorch_tanh", "gelu_tanh"},
                                 {"relu", "relu"}};

// Keys that must have this value where they are given: what makes another model of it.
struct FixedKey {
  const char* key;
  Json value;
};

// The config.json of one model_type.
struct ConfigFile {
  std::vector<FixedKey> fixed;
  const char* activation;  // the key of model.hidden_act
  std::vector<Name> keys;  // config.json's, and those of `model` with the same values
  // What a file that leaves keys out means where ModelConfig's own defaults do not say it, and what
  // no key says: by the names of `model`.
  Json defaults;
};

const ConfigFile& BertFile() {
  static const ConfigFile file = {
      .fixed = {{"model_type", "bert"},
                {"position_embedding_type", "absolute"},
                {"is_decoder", false},
                {"is_encoder_decoder", false},
                {"add_cross_attention", false},
                {"chunk_size_feed_forward", 0},
                {"pruned_heads", Json::object()},
                {"tie_word_embeddings", true}},
      .activation = "hidden_act",
      .keys = {{"vocab_size", "vocab_size"},
               {"hidden_size", "hidden_size"},
               {"num_hidden_layers", "num_hidden_layers"},
               {"num_attention_heads", "num_attention_heads"},
               {"intermediate_size", "intermediate_size"},
               {"max_position_embeddings", "max_position_embeddings"},
               {"type_vocab_size", "type_vocab_size"},
               {"layer_norm_eps", "layer_norm_eps"},
               {"hidden_dropout_prob", "hidden_dropout_prob"},
               {"attention_probs_dropout_prob", "attention_probs_dropout_prob"},
               {"initializer_range", "initializer_range"}},
      .defaults = {{"vocab_size", 30522}, {"hidden_act", "gelu_erf"}}};
  return file;
}

const ConfigFile& OptFile() {
  static const ConfigFile file = {.fixed = {{"model_type", "opt"},
                                            {"do_layer_norm_before", true},
                                            {"_remove_final_layer_norm", false},
                                            {"enable_bias", true},
                                            {"layer_norm_elementwise_affine", true},
                                            {"layerdrop", 0.0},
                                            {"is_encoder_decoder", false},
                                            {"add_cross_attention", false},
                                            {"tie_word_embeddings", true}},
                                  .activation = "activation_function",
                                  .keys = {{"vocab_size", "vocab_size"},
                                           {"hidden_size", "hidden_size"},
                                           {"num_hidden_layers", "num_hidden_layers"},
                                           {"num_attention_heads", "num_attention_heads"},
                                           {"ffn_dim", "intermediate_size"},
                                           {"max_position_embeddings", "max_position_embeddings"},
                                           {"word_embed_proj_dim", "word_embed_proj_dim"},
                                           {"dropout", "hidden_dropout_prob"},
                                           {"attention_dropout", "attention_probs_dropout_prob"},
                                           {"init_std", "initializer_range"}},
                                  .defaults = {{"vocab_size", 50272},
                                               {"hidden_act", "relu"},
                                               {"max_position_embeddings", 2048},
                                               {"attention_probs_dropout_prob", 0.0},
                                               {"layer_norm_eps", kOptLayerNormEps}}};
  return file;
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

absl::StatusOr<const ConfigFile*> ReadModelType(const Json& file, const std::string& path) {
  const auto type = file.find("model_type");
  if (type == file.end()) return CheckpointError("a key is missing", path, "model_type");
  if (*type == "bert") return &BertFile();
  if (*type == "opt") return &OptFile();
  return Unsupported(path,
                     absl::StrCat("model_type: ", type->dump(), ", known: \"bert\", \"opt\""));
}

absl::Status CheckFixedKeys(const Json& file, const ConfigFile& known, const std::string& path) {
  for (const FixedKey& fixed : known.fixed) {
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
absl::StatusOr<bool> ReadHead(const Json& file, bool is_bert, const std::string& path) {
  const std::string usual = is_bert ? kMaskedLm : kCausalLm;
  const Json architectures = file.value("architectures", Json::array({usual}));
  if (architectures == Json::array({usual})) return false;
  if (is_bert && architectures == Json::array({kPreTraining})) return true;
  return Unsupported(
      path, absl::StrCat("architectures: ", architectures.dump(), ", known: [\"", usual, "\"]",
                         is_bert ? absl::StrCat(", [\"", kPreTraining, "\"]") : ""));
}

// Where the file has no such key, there is none in `model` either.
absl::Status ReadActivation(const Json& file, const char* key, const std::string& path,
                            Json& model) {
  const auto name = file.find(key);
  if (name == file.end()) return absl::OkStatus();
  std::string known;
  for (const Name& activation : kActivations) {
    if (*name == activation.theirs) {
      model["hidden_act"] = activation.ours;
      return absl::OkStatus();
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", activation.theirs);
  }
  return Unsupported(path, absl::StrCat(key, ": ", name->dump(), ", known: ", known));
}

void ReadKeys(const Json& file, const ConfigFile& known, Json& model) {
  for (const Name& key : known.keys) {
    if (const auto value = file.find(key.theirs); value != file.end()) model[key.ours] = *value;
  }
  // 0 says the same here as hidden_size and null do there, and is one spelling of it.
  const auto width = model.find("word_embed_proj_dim");
  const bool is_usual =
      width != model.end() &&
      (width->is_null() || *width == model.value("hidden_size", Json(ModelConfig().hidden_size)));
  if (is_usual) *width = 0;
}

absl::Status ReadRows(const Json& rows, const std::string& path, Json& data) {
  if (!rows.is_object()) return CheckpointError("sluice.data is not an object", path, rows.dump());
  for (const auto& [key, value] : rows.items()) {
    if (std::ranges::find(kRowKeys, key) == std::end(kRowKeys)) {
      return CheckpointError("unknown key", path, absl::StrCat("sluice.", kRows, ".", key));
    }
    data[key] = value;
  }
  return absl::OkStatus();
}

// Copies the sections under `sluice` into `model` and `data`.
absl::Status ReadOwnKeys(const Json& file, const std::string& path, Json& model, Json& data) {
  const auto own = file.find("sluice");
  if (own == file.end()) return absl::OkStatus();
  if (!own->is_object()) return CheckpointError("sluice is not an object", path, own->dump());
  for (const auto& [key, value] : own->items()) {
    if (key == kRows) {
      RETURN_IF_ERROR(ReadRows(value, path, data));
    } else if (std::ranges::find(kOwnKeys, key) != std::end(kOwnKeys)) {
      model[key] = value;
    } else {
      return CheckpointError("unknown key", path, absl::StrCat("sluice.", key));
    }
  }
  return absl::OkStatus();
}

// The section `attention` with alpha as the gamma that it means, which says it without a length.
Json AttentionSection(const RunConfig& config) {
  RunConfig resolved = config;
  FixClippedSoftmaxGamma(resolved);
  return JsonOf(YAML::Load(DumpRunConfig(resolved))["model"]["attention"]);
}

// How the run made rows of its data.
Json RowsSection(const RunConfig& config) {
  const YAML::Node data = YAML::Load(DumpRunConfig(config))["data"];
  Json section;
  for (const char* key : kRowKeys) {
    if (const YAML::Node value = data[key]; value.IsDefined()) section[key] = JsonOf(value);
  }
  return section;
}

absl::Status CheckExportable(const ModelConfig& model) {
  if (model.architecture != "bert" && model.architecture != "opt") {
    return UsageError("Hugging Face has no such model", model.architecture,
                      "bert and opt can be exported");
  }
  if (model.architecture == "opt" && model.layer_norm_eps != kOptLayerNormEps) {
    return UsageError("Hugging Face's OPT has another model.layer_norm_eps", "",
                      absl::StrCat(model.layer_norm_eps, ", there always ", kOptLayerNormEps));
  }
  return absl::OkStatus();
}

Json IdOrNull(int32_t id) { return id < 0 ? Json() : Json(id); }

}  // namespace

absl::StatusOr<Json> ConfigToHuggingFace(const RunConfig& config, const SpecialTokenIds& special) {
  RETURN_IF_ERROR(CheckExportable(config.model));
  const bool is_bert = config.model.architecture == "bert";
  const ConfigFile& known = is_bert ? BertFile() : OptFile();
  const YAML::Node own = YAML::Load(DumpRunConfig(config))["model"];
  const char* architecture = !is_bert                          ? kCausalLm
                             : config.model.next_sentence_head ? kPreTraining
                                                               : kMaskedLm;
  Json file = {{"architectures", {architecture}}, {"dtype", "float32"}, {"torch_dtype", "float32"}};
  for (const FixedKey& fixed : known.fixed) file[fixed.key] = fixed.value;
  for (const Name& activation : kActivations) {
    if (config.model.hidden_act != activation.ours) continue;
    file[known.activation] = activation.theirs;
    break;
  }
  if (!file.contains(known.activation)) {
    return UsageError("Hugging Face has no such activation", config.model.hidden_act);
  }
  for (const Name& key : known.keys) file[key.theirs] = JsonOf(own[key.ours]);
  if (!is_bert && config.model.word_embed_proj_dim == 0) {
    file["word_embed_proj_dim"] = config.model.hidden_size;
  }
  file["pad_token_id"] = IdOrNull(special.pad);
  if (!is_bert) {
    file["bos_token_id"] = IdOrNull(special.bos);
    file["eos_token_id"] = IdOrNull(special.eos);
  }
  file["sluice"]["attention"] = AttentionSection(config);
  file["sluice"]["initialization"] = JsonOf(own["initialization"]);
  file["sluice"][kRows] = RowsSection(config);
  return file;
}

absl::StatusOr<RunConfig> ConfigFromHuggingFace(const std::string& path) {
  ASSIGN_OR_RETURN(const Json file, ReadJsonFile(path));
  ASSIGN_OR_RETURN(const ConfigFile* known, ReadModelType(file, path));
  RETURN_IF_ERROR(CheckFixedKeys(file, *known, path));
  const bool is_bert = known == &BertFile();
  Json model = known->defaults;
  model["architecture"] = is_bert ? "bert" : "opt";
  ASSIGN_OR_RETURN(const bool next_sentence_head, ReadHead(file, is_bert, path));
  if (is_bert) model["next_sentence_head"] = next_sentence_head;
  RETURN_IF_ERROR(ReadActivation(file, known->activation, path, model));
  ReadKeys(file, *known, model);
  Json data = Json::object();
  RETURN_IF_ERROR(ReadOwnKeys(file, path, model, data));
  // A file of another program does not say at what length it was trained.
  const Json positions = model.value("max_position_embeddings", Json(512));
  if (data == Json::object() && positions.is_number_integer()) {
    data["sequence_length"] = std::min(DataConfig().sequence_length, positions.get<int64_t>());
  }
  Json document = {{"name", "imported"},
                   {"model", model},
                   {"data", data},
                   {"training", {{"precision", "fp32"}}}};
  // The only data that has sentence pairs; its files say how rows are made.
  if (next_sentence_head) {
    document["data"] = {{"source", "nvidia_bert"}, {"sequence_length", data["sequence_length"]}};
  }
  // One line, and a name of its own: lines of this text are none of the file's.
  absl::StatusOr<RunConfig> config =
      ParseRunConfig(document.dump(), "its configuration", ConfigUse::kInspection);
  if (config.ok() && config->model.vocab_size > 0) return config;
  return Unsupported(path, config.ok() ? "vocab_size: 0" : config.status().message());
}

}  // namespace sluice
