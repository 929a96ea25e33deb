#include "train/huggingface_import.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "checkpoint/new_folder.h"
#include "checkpoint/safetensors_folder.h"
#include "checkpoint/writer.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/status.h"
#include "core/version.h"
#include "data/vocabulary_file.h"
#include "train/huggingface_config.h"
#include "train/huggingface_names.h"
#include "train/huggingface_tokenizer.h"
#include "train/huggingface_weights.h"
#include "train/planned_weights.h"

namespace sluice {
namespace {

absl::Status CheckVocabulary(const ImportedVocabulary& imported, const RunConfig& config,
                             const std::string& folder) {
  const auto vocabulary = VocabularyFile::FromBytes(imported.files, imported.kind, folder);
  if (!vocabulary.ok()) return CheckpointError(vocabulary.status().message());
  const bool is_bert = config.model.architecture == "bert";
  if (is_bert != (imported.kind == "wordpiece")) {
    return CheckpointError("the tokenizer is not of the model's kind", folder,
                           absl::StrCat(imported.kind, ", ", config.model.architecture, " has ",
                                        is_bert ? "wordpiece" : "bpe"));
  }
  const SpecialTokenIds special = vocabulary->WordPieceIdentity(false).special;
  if (is_bert && std::min({special.pad, special.unk, special.cls, special.sep, special.mask}) < 0) {
    return CheckpointError("the vocabulary lacks one of [PAD], [UNK], [CLS], [SEP], [MASK]",
                           folder);
  }
  if (vocabulary->size() <= config.model.vocab_size) return absl::OkStatus();
  return CheckpointError("the vocabulary is larger than vocab_size", folder,
                         absl::StrCat(vocabulary->size(), " > ", config.model.vocab_size));
}

}  // namespace

absl::StatusOr<ImportReport> ImportFromHuggingFace(const ImportRequest& request) {
  RETURN_IF_ERROR(CheckFolderIsNew(request.checkpoint));
  ASSIGN_OR_RETURN(const SafetensorsFolder file, SafetensorsFolder::Open(request.folder));
  ASSIGN_OR_RETURN(const RunConfig config, ConfigFromHuggingFace(request.folder + "/config.json"));
  ASSIGN_OR_RETURN(const ImportedVocabulary vocabulary, VocabularyFromHuggingFace(request.folder));
  RETURN_IF_ERROR(CheckVocabulary(vocabulary, config, request.folder));
  ASSIGN_OR_RETURN(PlannedWeights weights, PlannedWeights::Of(config));
  ASSIGN_OR_RETURN(const HuggingFaceTensors tensors,
                   SortTensorNames(file.Names(), weights.Names(), config.model, file.path()));
  RETURN_IF_ERROR(ReadHuggingFaceWeights(file, tensors, weights.Destinations()));

  CheckpointContents contents;
  contents.model = weights.Tensors();
  int64_t largest = 0;
  for (const NamedTensor& tensor : contents.model) {
    largest = std::max(largest, tensor.shape.elements());
  }
  const std::vector<float> zeros(largest);
  for (const NamedTensor& tensor : contents.model) {
    for (const char* moment : {"m/", "v/"}) {
      contents.optimizer.push_back(
          {moment + tensor.name, tensor.shape, std::span(zeros).first(tensor.values.size())});
    }
  }
  contents.state.seed = config.training.seed;
  contents.state.sluice_version = kVersion;
  contents.state.imported_from = kImportedFromHuggingFace;
  contents.config_yaml = DumpRunConfig(config);
  const std::vector<std::string> names = VocabularyFileNames(vocabulary.kind);
  for (size_t i = 0; i < names.size(); ++i) contents.texts[names[i]] = vocabulary.files[i];
  RETURN_IF_ERROR(WriteCheckpointAs(request.checkpoint, contents));
  return ImportReport{weights.elements(), tensors.left_out};
}

}  // namespace sluice
