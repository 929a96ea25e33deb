#include "tools/checkpoint_tokenizer.h"

#include <filesystem>

#include "core/error.h"
#include "data/shard_format.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadCheckpointTokenizer(const std::string& checkpoint) {
  for (const char* name : {kVocabularyFileName, kVocabularyJsonFileName}) {
    std::error_code error;
    if (std::filesystem::exists(std::filesystem::path(checkpoint) / name, error)) {
      return LoadTokenizer({.path = checkpoint});
    }
  }
  return CheckpointError(
      "the checkpoint has no vocabulary, since its training data came without one: no text can be "
      "read or written with it",
      checkpoint);
}

}  // namespace sluice
