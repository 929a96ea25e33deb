// The files of a byte-level BPE vocabulary, as Hugging Face lays them out: vocab.json (token → id)
// and merges.txt (which two tokens become one, the first line's first).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

struct BytePairMerge {
  int32_t first = 0, second = 0;  // neighbours,
  int32_t merged = 0;             // and what they become: a token with the text of both
};

struct BytePairVocabulary {
  std::vector<std::string> tokens;    // by id, in the alphabet of data/byte_alphabet.h
  std::vector<BytePairMerge> merges;  // by rank: the smallest rank is merged first
  std::string sha256;                 // of the bytes of vocab.json and, after them, merges.txt
  std::string name;                   // of vocab.json, for messages

  // The token's id, or -1; looks at all of them.
  int32_t Find(absl::string_view token) const;

  // DataError with file and line for what is wrong: in vocab.json (data/vocabulary_json.h), one of
  // the 256 bytes without a token; in merges.txt a first line that says no version, a line
  // that is not two tokens with one space between, ill-formed UTF-8, a carriage return, and a merge
  // of or into a token that vocab.json lacks. A pair that is there twice counts where it is last,
  // as in the package `tokenizers`.
  static absl::StatusOr<BytePairVocabulary> Load(const std::string& vocabulary_path,
                                                 const std::string& merges_path);
  // The same from the files' bytes; the names are for messages.
  struct File {
    std::string name, bytes;
  };
  static absl::StatusOr<BytePairVocabulary> FromBytes(const File& vocabulary, const File& merges);
};

}  // namespace sluice
