// The files of byte-level BPE as Hugging Face lays them out. vocab.json is one object, token → id:
//
//   {"<s>": 0, "<pad>": 1, …, "Ġthe": 5}
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// The tokens by id. `name` of the file is for messages. DataError with file and line: not JSON (or
// not UTF-8), not one object of numbers, a token or an id that was there before, an id that none
// has though a larger one is there, no token at all.
absl::StatusOr<std::vector<std::string>> ParseVocabularyJson(absl::string_view bytes,
                                                             const std::string& name);

// The first line of merges.txt, as it is written here.
inline constexpr absl::string_view kMergesVersionLine = "#version: 0.2";
// Whether a line is that, perhaps with who wrote the file behind it, as older programs have it.
bool IsMergesVersionLine(absl::string_view line);

}  // namespace sluice
