#include "train/huggingface_import.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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
#include "train/planned_weights.h"

namespace sluice {
namespace {

constexpr size_t kMostProblems = 8;  // named in one error

bool SameShape(const SafetensorsEntry& entry, const Shape& shape) {
  if (std::ssize(entry.dims) != shape.rank()) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (entry.dims[axis] != shape.dim(axis)) return false;
  }
  return true;
}

// Names what is missing, what is too many, and which shapes differ.
absl::Status CheckFit(const SafetensorsFolder& file, const HuggingFaceTensors& tensors,
                      const std::vector<TensorDestination>& weights) {
  std::vector<std::string> problems;
  for (const TensorDestination& weight : weights) {
    const auto name = tensors.file_name.find(weight.name);
    if (name == tensors.file_name.end()) {
      problems.push_back(absl::StrCat("missing tensor ", weight.name));
      continue;
    }
    const SafetensorsEntry& entry = *file.Find(name->second);
    if (!SameShape(entry, weight.shape)) {
      problems.push_back(absl::StrCat("tensor ", entry.name, " has shape ", entry.ShapeText(),
                                      ", expected ", weight.shape.ToString()));
    }
  }
  for (const std::string& name : tensors.unknown) {
    problems.push_back(absl::StrCat("unexpected tensor ", name));
  }
  if (problems.empty()) return absl::OkStatus();
  const size_t all = problems.size();
  problems.resize(std::min(all, kMostProblems));
  if (all > kMostProblems) problems.push_back(absl::StrCat("and ", all - kMostProblems, " more"));
  return CheckpointError("does not fit config.json", file.path(), absl::StrJoin(problems, "; "));
}

// Second names of tied parameters must have their bits: an untied decoder is another model.
absl::Status CheckCopies(const SafetensorsFolder& file, const HuggingFaceTensors& tensors,
                         const std::vector<TensorDestination>& weights) {
  for (const HuggingFaceTensors::Copy& copy : tensors.copies) {
    const auto weight = std::ranges::find(weights, copy.parameter, &TensorDestination::name);
    std::vector<float> values(weight->values.size());
    RETURN_IF_ERROR(file.Read(copy.name, values));
    if (std::memcmp(values.data(), weight->values.data(), weight->values.size_bytes()) == 0) {
      continue;
    }
    return CheckpointError("a tensor that must be tied has values of its own", file.path(),
                           absl::StrCat(copy.name, " is not ", copy.parameter));
  }
  return absl::OkStatus();
}

absl::Status ReadWeights(const SafetensorsFolder& file, const HuggingFaceTensors& tensors,
                         const std::vector<TensorDestination>& weights) {
  RETURN_IF_ERROR(CheckFit(file, tensors, weights));
  for (const TensorDestination& weight : weights) {
    RETURN_IF_ERROR(file.Read(tensors.file_name.at(weight.name), weight.values));
    const auto wrong =
        std::ranges::find_if(weight.values, [](float x) { return !std::isfinite(x); });
    if (wrong == weight.values.end()) continue;
    return CheckpointError("a weight is not finite", file.path(),
                           absl::StrCat(tensors.file_name.at(weight.name), ": element ",
                                        wrong - weight.values.begin(), " is ", *wrong));
  }
  return CheckCopies(file, tensors, weights);
}

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
  RETURN_IF_ERROR(ReadWeights(file, tensors, weights.Destinations()));

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
