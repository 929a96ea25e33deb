#include "train/huggingface_export.h"

#include "absl/strings/match.h"
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
#include "data/vocabulary_file.h"
#include "train/huggingface_config.h"
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

// What goes into the folder besides the weights.
struct TextFiles {
  Json config, tokenizer_config;
  std::string vocabulary;
};

absl::StatusOr<TextFiles> MakeTextFiles(const std::string& checkpoint, const RunConfig& config,
                                        bool cased) {
  const std::string path = absl::StrCat(checkpoint, "/", kVocabularyFileName);
  ASSIGN_OR_RETURN(const VocabularyFile vocabulary, VocabularyFile::Read({path}, "wordpiece"));
  TextFiles files;
  const int32_t pad_id = vocabulary.WordPieceIdentity(cased).special.pad;
  ASSIGN_OR_RETURN(files.config, ConfigToHuggingFace(config, pad_id));
  files.tokenizer_config =
      TokenizerConfigToHuggingFace(cased, config.model.max_position_embeddings);
  ASSIGN_OR_RETURN(files.vocabulary, ReadWholeFile(path));
  return files;
}

absl::Status WriteFiles(const std::string& folder, const TextFiles& files,
                        const std::vector<NamedTensor>& tensors) {
  const auto at = [&](absl::string_view name) { return absl::StrCat(folder, "/", name); };
  RETURN_IF_ERROR(WriteFileAtomically(at("config.json"), files.config.dump(2) + "\n"));
  RETURN_IF_ERROR(
      WriteFileAtomically(at("tokenizer_config.json"), files.tokenizer_config.dump(2) + "\n"));
  RETURN_IF_ERROR(WriteFileAtomically(at(kVocabularyFileName), files.vocabulary));
  return WriteSafetensors(at(kSafetensorsFile), AsSafetensors(tensors), {{"format", "pt"}});
}

}  // namespace

absl::StatusOr<ExportReport> ExportToHuggingFace(const ExportRequest& request) {
  RETURN_IF_ERROR(CheckFolderIsNew(request.folder));
  ExportReport report;
  ASSIGN_OR_RETURN(report.checkpoint, ResolveCheckpoint(request.checkpoint));
  ASSIGN_OR_RETURN(const CheckpointState state, ReadCheckpointState(report.checkpoint));
  ASSIGN_OR_RETURN(
      const RunConfig config,
      LoadRunConfig(absl::StrCat(report.checkpoint, "/", kConfigFile), {}, ConfigUse::kInspection));
  ASSIGN_OR_RETURN(const TextFiles files, MakeTextFiles(report.checkpoint, config, request.cased));
  ASSIGN_OR_RETURN(PlannedWeights weights, PlannedWeights::Of(config));
  RETURN_IF_ERROR(ReadCheckpointModel(report.checkpoint, weights.Destinations()));
  const std::vector<NamedTensor> tensors = weights.Tensors();
  RETURN_IF_ERROR(WriteNewFolder(request.folder, [&](const std::string& folder) {
    return WriteFiles(folder, files, tensors);
  }));
  report.step = state.step;
  report.tensors = std::ssize(tensors);
  report.parameters = weights.elements();
  for (const std::string& name : weights.Names()) {
    if (absl::StrContains(name, ".gate.")) report.own_parameters.push_back(name);
  }
  return report;
}

}  // namespace sluice
