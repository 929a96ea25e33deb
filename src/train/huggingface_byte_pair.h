// The byte-level BPE of huggingface_tokenizer.h, and how a setting that ours does not have is
// refused.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/json_file.h"
#include "data/shard_format.h"

namespace sluice {

absl::Status UnsupportedTokenizer(const std::string& path, absl::string_view values);
// UnsupportedTokenizer unless `key`, where it is given, is one of the known values.
absl::Status CheckTokenizerKey(const Json& object, const char* key, const std::vector<Json>& known,
                               const std::string& path);

// The bytes of vocab.json and merges.txt from a tokenizer.json whose model is BPE, as the package
// `tokenizers` writes them.
absl::StatusOr<std::vector<std::string>> ReadBytePairFile(const Json& file,
                                                          const std::string& path);

// CheckpointError unless the two files are a vocabulary with OPT's or GPT-2's special tokens, and
// merges of and into its tokens.
absl::Status CheckBytePairs(const std::vector<std::string>& files, const std::string& folder);

// tokenizer_config.json: what is written, and whether one that is there is of a tokenizer like
// ours.
Json BytePairConfig(const SpecialTokenIds& special, int64_t max_length);
absl::Status CheckBytePairConfig(const std::string& path);

}  // namespace sluice
