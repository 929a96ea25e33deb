#include "train/initial_weights.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors_folder.h"
#include "checkpoint/verify.h"
#include "config/dump.h"
#include "config/load.h"
#include "core/error.h"
#include "core/status.h"
#include "data/content_hash.h"
#include "data/vocabulary_file.h"
#include "runtime/host_tensor.h"
#include "train/huggingface_config.h"
#include "train/huggingface_names.h"
#include "train/huggingface_tokenizer.h"
#include "train/huggingface_weights.h"
#include "train/load_model.h"
#include "train/resume.h"

namespace sluice {
namespace {

// Whether `key` may differ because the weights are of a model without variant or registers, which
// become another one's by what is drawn.
bool IsAdded(const std::string& key, const AttentionConfig& source) {
  if (key == "model.attention.register_tokens") return source.register_tokens == 0;
  return absl::StartsWith(key, "model.attention.") && source.variant == "vanilla";
}

absl::Status CheckSameModel(const RunConfig& source, const RunConfig& config,
                            const std::string& folder) {
  std::vector<std::string> differences;
  for (const KeyDifference& difference : ConfigDifference(source, config)) {
    const std::string& key = difference.key;
    if (!DecidesTheFunction(key) || IsAdded(key, source.model.attention)) continue;
    differences.push_back(
        absl::StrCat(key, " is ", difference.a, " there, ", difference.b, " here"));
  }
  if (differences.empty()) return absl::OkStatus();
  return UsageError("the weights to start from are of another model", folder,
                    absl::StrJoin(differences, "; "));
}

// The parameters' places in `values`, the flat masters, without those that `has` does not know and
// that are the model's own, whose names go to `drawn`.
template <typename Has>
std::vector<TensorDestination> Destinations(const ParameterStore& parameters,
                                            const TensorView& values, const Has& has,
                                            std::vector<std::string>& drawn) {
  std::vector<TensorDestination> destinations;
  for (const Parameter& parameter : parameters.parameters()) {
    if (!has(parameter.name) && IsOwnParameter(parameter.name)) {
      drawn.push_back(parameter.name);
      continue;
    }
    destinations.push_back(
        {parameter.name,
         parameter.shape,
         {values.as<float>() + parameter.offset, static_cast<size_t>(parameter.elements())}});
  }
  return destinations;
}

uint64_t HashOf(const std::vector<TensorDestination>& read) {
  Xxh3Hasher hasher;
  for (const TensorDestination& tensor : read) {
    hasher.Update(tensor.values.data(), tensor.values.size_bytes());
  }
  return hasher.Digest();
}

absl::Status ReadCheckpoint(const ParameterStore& parameters, const TensorView& values,
                            InitialWeights& weights) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ReadCheckpointModelNames(weights.folder));
  const std::set<std::string> known(names.begin(), names.end());
  const auto has = [&](const std::string& name) { return known.contains(name); };
  const auto destinations = Destinations(parameters, values, has, weights.drawn);
  weights.tensors = std::ssize(destinations);
  RETURN_IF_ERROR(ReadCheckpointModel(weights.folder, destinations));
  weights.xxh3 = HashOf(destinations);
  return absl::OkStatus();
}

absl::Status CheckVocabulary(const std::string& folder, const TokenizerIdentity& tokenizer) {
  if (tokenizer.vocabulary_sha256.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ImportedVocabulary imported, VocabularyFromHuggingFace(folder));
  const auto vocabulary = VocabularyFile::FromBytes(imported.files, imported.kind, folder);
  if (!vocabulary.ok()) return CheckpointError(vocabulary.status().message());
  if (vocabulary->sha256() == tokenizer.vocabulary_sha256) return absl::OkStatus();
  return CheckpointError("the data has another vocabulary than the weights", folder,
                         absl::StrCat("sha256 ", tokenizer.vocabulary_sha256.substr(0, 12),
                                      "… vs. ", vocabulary->sha256().substr(0, 12), "…"));
}

absl::Status ReadHuggingFace(const RunConfig& config, const ParameterStore& parameters,
                             const TensorView& values, InitialWeights& weights) {
  ASSIGN_OR_RETURN(const SafetensorsFolder file, SafetensorsFolder::Open(weights.folder));
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters.parameters()) names.push_back(parameter.name);
  ASSIGN_OR_RETURN(const HuggingFaceTensors tensors,
                   SortTensorNames(file.Names(), names, config.model, file.path()));
  const auto has = [&](const std::string& name) { return tensors.file_name.contains(name); };
  const auto destinations = Destinations(parameters, values, has, weights.drawn);
  weights.tensors = std::ssize(destinations);
  RETURN_IF_ERROR(ReadHuggingFaceWeights(file, tensors, destinations));
  weights.xxh3 = HashOf(destinations);
  return absl::OkStatus();
}

bool IsHuggingFace(const std::string& folder) {
  std::error_code error;
  return std::filesystem::exists(folder + "/config.json", error);
}

}  // namespace

absl::StatusOr<std::string> FindInitialWeights(const std::string& path) {
  if (IsHuggingFace(path)) return path;
  return ResolveCheckpoint(path);
}

absl::Status CheckInitialWeights(const std::string& folder, const RunConfig& config,
                                 const TokenizerIdentity& tokenizer) {
  if (IsHuggingFace(folder)) {
    ASSIGN_OR_RETURN(const RunConfig source, ConfigFromHuggingFace(folder + "/config.json"));
    RETURN_IF_ERROR(CheckSameModel(source, config, folder));
    return CheckVocabulary(folder, tokenizer);
  }
  RETURN_IF_ERROR(VerifyCheckpoint(folder));
  ASSIGN_OR_RETURN(const RunConfig source, LoadRunConfig(absl::StrCat(folder, "/", kConfigFile), {},
                                                         ConfigUse::kInspection));
  RETURN_IF_ERROR(CheckSameModel(source, config, folder));
  return CheckSameVocabulary(folder, tokenizer);
}

absl::StatusOr<InitialWeights> ReadInitialWeights(const std::string& folder,
                                                  const RunConfig& config,
                                                  const TokenizerIdentity& tokenizer,
                                                  Engine& engine) {
  RETURN_IF_ERROR(CheckInitialWeights(folder, config, tokenizer));
  InitialWeights weights;
  weights.folder = folder;
  const ParameterStore& parameters = engine.parameters();
  // What is drawn stays, so the masters are read before they are written.
  ASSIGN_OR_RETURN(HostTensor masters, HostTensor::Read(engine.device(), parameters.flat_master()));
  RETURN_IF_ERROR(IsHuggingFace(weights.folder)
                      ? ReadHuggingFace(config, parameters, masters.view(), weights)
                      : ReadCheckpoint(parameters, masters.view(), weights));
  RETURN_IF_ERROR(masters.Store());
  RETURN_IF_ERROR(engine.WeightsLoaded());
  return weights;
}

std::string DescribeInitialWeights(const InitialWeights& weights) {
  constexpr size_t kMostNames = 4;
  std::string text =
      absl::StrCat("weights from ", weights.folder, ": ", weights.tensors, " tensors");
  if (weights.drawn.empty()) return text;
  const size_t all = weights.drawn.size(), shown = std::min(all, kMostNames);
  absl::StrAppend(&text, "; drawn anew: ",
                  absl::StrJoin(weights.drawn.begin(), weights.drawn.begin() + shown, ", "));
  if (all > shown) absl::StrAppend(&text, " and ", all - shown, " more");
  return text;
}

}  // namespace sluice
