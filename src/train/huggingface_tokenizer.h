// A WordPiece tokenizer in the files of a Hugging Face model: vocab.txt and tokenizer_config.json,
// or tokenizer.json, in which transformers 5 saves both.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/json_file.h"

namespace sluice {

// tokenizer_config.json for a vocab.txt beside it.
Json TokenizerConfigToHuggingFace(bool cased, int64_t max_length);

// The bytes of a vocab.txt for the tokenizer in `folder`: its own, or made of tokenizer.json.
// CheckpointError for other kinds of tokenizers, for settings that ours does not have, and when the
// casing is not what the vocabulary's letters say: a checkpoint keeps the vocabulary only.
absl::StatusOr<std::string> VocabularyFromHuggingFace(const std::string& folder);

}  // namespace sluice
