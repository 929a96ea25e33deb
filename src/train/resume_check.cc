// Whether a run may go on from a checkpoint, as far as that is told without its tensors.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/reader.h"
#include "config/dump.h"
#include "config/load.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data/vocabulary_file.h"
#include "train/resume.h"

namespace sluice {
namespace {

// Keys that decide what is computed. A run that goes on with another value would be a different
// run.
bool MayChange(const std::string& key) {
  if (key == "data.validation_sequences") return false;  // of what is generated, another set
  for (const char* free :
       {"name", "training.steps", "training.evaluate_every", "training.evaluation_batches",
        "training.log_every", "training.gradient_accumulation_steps", "checkpoint.", "telemetry.",
        "training.precision", "training.loss_scale.", "runtime.", "schedule.",
        "data.prefetch_batches", "data.validation", "data.train"}) {
    if (absl::StartsWith(key, free))
      return true;  // the data itself is compared by its vocabulary, not by its path
  }
  return false;
}

absl::Status CheckSameRun(const std::string& folder, const CheckpointState& state,
                          const RunConfig& config) {
  ASSIGN_OR_RETURN(const RunConfig saved,
                   LoadRunConfig(folder + "/config.yaml", {}, ConfigUse::kInspection));
  std::string differences;
  for (const KeyDifference& difference : ConfigDifference(saved, config)) {
    if (difference.key == "training.precision") {
      LogWarning(absl::StrCat("the run goes on in another precision: ", difference.key, " was ",
                              difference.a, ", is ", difference.b));
    }
    // A run that goes on needs not be told what it once started from, but has started there.
    const bool no_source =
        difference.key == "training.initial_weights" && config.training.initial_weights.empty();
    if (no_source || MayChange(difference.key)) continue;
    if (state.imported_from.has_value() && !DecidesTheFunction(difference.key)) continue;
    absl::StrAppend(&differences, differences.empty() ? "" : "; ", difference.key, " was ",
                    difference.a, ", is ", difference.b);
  }
  if (differences.empty()) return absl::OkStatus();
  if (state.imported_from.has_value()) {
    return UsageError("the imported checkpoint is of another model", folder, differences);
  }
  return UsageError(
      "the checkpoint was trained with other settings (use another --run-folder, or --resume none)",
      folder, differences);
}

}  // namespace

bool DecidesTheFunction(const std::string& key) {
  return absl::StartsWith(key, "model.") && !absl::StartsWith(key, "model.initializ") &&
         !absl::EndsWith(key, "dropout_prob") && !absl::EndsWith(key, "gate.initializer_range");
}

absl::Status CheckSameVocabulary(const std::string& folder, const TokenizerIdentity& tokenizer) {
  if (tokenizer.vocabulary_sha256.empty()) return absl::OkStatus();
  std::vector<std::string> paths;
  for (const std::string& name : VocabularyFileNames(tokenizer.kind)) {
    paths.push_back(absl::StrCat(folder, "/", name));
    if (!std::filesystem::exists(paths.back())) {
      return CheckpointError("the data has another kind of vocabulary than the checkpoint", folder,
                             absl::StrCat(tokenizer.kind, ", which has a ", name));
    }
  }
  ASSIGN_OR_RETURN(const VocabularyFile vocabulary, VocabularyFile::Read(paths, tokenizer.kind));
  if (vocabulary.sha256() == tokenizer.vocabulary_sha256) return absl::OkStatus();
  return CheckpointError("the data has another vocabulary than the checkpoint", folder,
                         absl::StrCat("sha256 ", tokenizer.vocabulary_sha256.substr(0, 12),
                                      "… vs. ", vocabulary.sha256().substr(0, 12), "…"));
}

absl::Status CheckMayResume(const std::string& folder, const RunConfig& config,
                            const TokenizerIdentity& tokenizer) {
  ASSIGN_OR_RETURN(const CheckpointState saved, ReadCheckpointState(folder));
  RETURN_IF_ERROR(CheckSameRun(folder, saved, config));
  RETURN_IF_ERROR(CheckSameVocabulary(folder, tokenizer));
  if (saved.step <= config.training.steps) return absl::OkStatus();
  return UsageError("the checkpoint is past training.steps", folder,
                    absl::StrCat(saved.step, " > ", config.training.steps));
}

}  // namespace sluice
