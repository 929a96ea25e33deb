#include "train/huggingface_export.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/json_file.h"
#include "checkpoint/new_folder.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_folder.h"
#include "config/load.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "train/huggingface_config.h"
#include "train/huggingface_names.h"
#include "train/huggingface_tokenizer.h"
#include "train/load_model.h"
#include "train/planned_weights.h"

namespace sluice {
namespace {

std::vector<SafetensorsTensor> AsSafetensors(const std::vector<NamedTensor>& tensors) {
  std::vector<SafetensorsTensor> result;
  for (const NamedTensor& tensor : tensors) {
    std::vector<int64_t> dims;
    for (int axis = 0; axis < tensor.shape.rank(); ++axis) dims.push_back(tensor.shape.dim(axis));
    result.push_back(SafetensorsTensor::Of(tensor.name, dims, tensor.values));
  }
  return result;
}

// What goes into the folder besides the weights: name and bytes.
using TextFiles = std::map<std::string, std::string>;

absl::StatusOr<TextFiles> MakeTextFiles(const std::string& checkpoint, const RunConfig& config,
                                        const TokenizerIdentity& tokenizer) {
  TextFiles files;
  ASSIGN_OR_RETURN(const Json model, ConfigToHuggingFace(config, tokenizer.special));
  files["config.json"] = model.dump(2) + "\n";
  files["tokenizer_config.json"] =
      TokenizerConfigToHuggingFace(tokenizer, config.model.max_position_embeddings).dump(2) + "\n";
  for (const std::string& name : VocabularyFileNames(tokenizer.kind)) {
    ASSIGN_OR_RETURN(files[name], ReadWholeFile(absl::StrCat(checkpoint, "/", name)));
  }
  return files;
}

absl::Status WriteFiles(const std::string& folder, const TextFiles& files,
                        const std::vector<NamedTensor>& tensors) {
  const auto at = [&](absl::string_view name) { return absl::StrCat(folder, "/", name); };
  for (const auto& [name, bytes] : files) RETURN_IF_ERROR(WriteFileAtomically(at(name), bytes));
  return WriteSafetensors(at(kSafetensorsFile), AsSafetensors(tensors), {{"format", "pt"}});
}

absl::StatusOr<RunConfig> LoadConfig(const std::string& checkpoint) {
  return LoadRunConfig(absl::StrCat(checkpoint, "/", kConfigFile), {}, ConfigUse::kInspection);
}

}  // namespace

absl::Status CheckCanBeExported(const std::string& checkpoint) {
  ASSIGN_OR_RETURN(const RunConfig config, LoadConfig(checkpoint));
  return ConfigToHuggingFace(config, {}).status();
}

absl::StatusOr<ExportReport> ExportToHuggingFace(const ExportRequest& request) {
  RETURN_IF_ERROR(CheckFolderIsNew(request.folder));
  ExportReport report;
  ASSIGN_OR_RETURN(report.checkpoint, ResolveCheckpoint(request.checkpoint));
  ASSIGN_OR_RETURN(const CheckpointState state, ReadCheckpointState(report.checkpoint));
  ASSIGN_OR_RETURN(const RunConfig config, LoadConfig(report.checkpoint));
  ASSIGN_OR_RETURN(const TextFiles files,
                   MakeTextFiles(report.checkpoint, config, request.tokenizer));
  ASSIGN_OR_RETURN(PlannedWeights weights, PlannedWeights::Of(config));
  RETURN_IF_ERROR(ReadCheckpointModel(report.checkpoint, weights.Destinations()));
  const std::vector<NamedTensor> tensors = weights.Tensors();
  RETURN_IF_ERROR(WriteNewFolder(request.folder, [&](const std::string& folder) {
    return WriteFiles(folder, files, tensors);
  }));
  report.step = state.step;
  report.attention = config.model.attention.variant;
  report.tensors = std::ssize(tensors);
  report.parameters = weights.elements();
  for (const std::string& name : weights.Names()) {
    if (IsOwnParameter(name)) report.own_parameters.push_back(name);
  }
  return report;
}

}  // namespace sluice
