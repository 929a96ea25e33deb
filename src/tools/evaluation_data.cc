#include "tools/evaluation_data.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "train/resume.h"

namespace sluice {

void AddDataOverrides(CLI::App& command, std::vector<std::string>& overrides) {
  command.add_option("overrides", overrides,
                     "data.key=value instead of the run's, such as data.sequence_length=512: how "
                     "data become rows");
}

absl::StatusOr<std::vector<std::unique_ptr<BatchSource>>> OpenEvaluationData(
    const LoadedModel& model, const std::string& path) {
  std::vector<std::unique_ptr<BatchSource>> sources;
  if (path.empty()) {
    ASSIGN_OR_RETURN(sources, OpenValidationSources(model.config));
    if (sources.empty()) {
      return UsageError("the run has no validation data; say what to evaluate on with --data",
                        model.folder);
    }
  } else {
    ASSIGN_OR_RETURN(std::unique_ptr<BatchSource> source, OpenEvaluationSource(model.config, path));
    sources.push_back(std::move(source));
  }
  for (const std::unique_ptr<BatchSource>& source : sources) {
    RETURN_IF_ERROR(CheckSameVocabulary(model.folder, source->tokenizer()));
    RETURN_IF_ERROR(CheckSameText(model.folder, model.state, *source));
    if (source->vocabulary_size() <= model.config.model.vocab_size) continue;
    return DataError(
        "the data's vocabulary is larger than the model's", source->name(),
        absl::StrFormat("%d > %d", source->vocabulary_size(), model.config.model.vocab_size));
  }
  return sources;
}

}  // namespace sluice
