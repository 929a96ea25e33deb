// The tokenizer whose vocabulary a checkpoint keeps.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {

// CheckpointError when there is none: data that comes as numbers (NVIDIA's files, the
// Bigram-Backcopy task) leaves no vocabulary in a checkpoint.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadCheckpointTokenizer(const std::string& checkpoint);

}  // namespace sluice
