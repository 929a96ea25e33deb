// A model's configuration as Hugging Face's config.json, and back. docs/formats/huggingface.md has
// the keys of BERT and OPT. What transformers does not know (the attention variant) is under the
// key `sluice`, as the sections of our own configuration.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/json_file.h"
#include "config/run_config.h"
#include "data/shard_format.h"

namespace sluice {

// special: of the tokenizer. UsageError for a model that transformers does not have.
absl::StatusOr<Json> ConfigToHuggingFace(const RunConfig& config, const SpecialTokenIds& special);

// A configuration whose model section is what `path` (a config.json) says, and the rest defaults;
// precision is fp32. CheckpointError that names the key and its value for every model that this
// program does not have.
absl::StatusOr<RunConfig> ConfigFromHuggingFace(const std::string& path);

}  // namespace sluice
