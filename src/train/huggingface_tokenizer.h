// A tokenizer in the files of a Hugging Face model. WordPiece: vocab.txt and tokenizer_config.json.
// Byte-level BPE: vocab.json, merges.txt and tokenizer_config.json. Either: tokenizer.json, in
// which transformers 5 saves all of it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/json_file.h"
#include "data/shard_format.h"

namespace sluice {

// tokenizer_config.json for the vocabulary's files beside it.
Json TokenizerConfigToHuggingFace(const TokenizerIdentity& tokenizer, int64_t max_length);

// The bytes of VocabularyFileNames(kind), in that order, for the tokenizer in `folder`: its own
// files, or made of tokenizer.json. CheckpointError for other kinds of tokenizers, for settings
// that ours does not have, and when a WordPiece's casing is not what the vocabulary's letters say:
// a checkpoint keeps the vocabulary only.
struct ImportedVocabulary {
  std::string kind;  // wordpiece or bpe
  std::vector<std::string> files;
};
absl::StatusOr<ImportedVocabulary> VocabularyFromHuggingFace(const std::string& folder);

}  // namespace sluice
