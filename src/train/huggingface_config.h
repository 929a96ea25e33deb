// A model's configuration as Hugging Face's config.json, and back. docs/formats/huggingface.md has
// the keys. What transformers does not know (the attention variant) is under the key `sluice`, as
// the sections of our own configuration.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/json_file.h"
#include "config/run_config.h"

namespace sluice {

// pad_id: the tokenizer's [PAD], or -1.
absl::StatusOr<Json> ConfigToHuggingFace(const RunConfig& config, int32_t pad_id);

// A configuration whose model section is what `path` (a config.json) says, and the rest defaults;
// precision is fp32. CheckpointError that names the key and its value for every model that this
// program does not have.
absl::StatusOr<RunConfig> ConfigFromHuggingFace(const std::string& path);

}  // namespace sluice
