#include "data/vocabulary_file.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"

namespace sluice {

absl::StatusOr<VocabularyFile> VocabularyFile::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path));
  return FromBytes(bytes, path);
}

absl::StatusOr<VocabularyFile> VocabularyFile::FromBytes(const std::string& bytes,
                                                         const std::string& path) {
  VocabularyFile vocabulary;
  vocabulary.sha256_ = Sha256Text(bytes);
  absl::string_view text = bytes;
  absl::ConsumeSuffix(&text, "\n");
  if (text.empty()) return DataError("vocabulary is empty", path);
  absl::flat_hash_map<std::string, int64_t> line_of;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    const int64_t number = vocabulary.size() + 1;
    const auto [found, inserted] = line_of.try_emplace(std::string(line), number);
    if (!inserted) {
      return DataError("vocabulary repeats a piece", absl::StrCat(path, ":", number),
                       absl::StrCat("\"", line, "\" is also on line ", found->second));
    }
    vocabulary.pieces_.emplace_back(line);
  }
  return vocabulary;
}

TokenizerIdentity VocabularyFile::Identity(const std::string& kind, bool cased) const {
  TokenizerIdentity identity{
      .kind = kind, .cased = cased, .vocabulary_size = size(), .vocabulary_sha256 = sha256_};
  for (int64_t id = 0; id < size(); ++id) {
    const std::string& text = piece(id);
    const auto value = static_cast<int32_t>(id);
    if (text == "[PAD]") identity.special.pad = value;
    if (text == "[UNK]") identity.special.unk = value;
    if (text == "[CLS]") identity.special.cls = value;
    if (text == "[SEP]") identity.special.sep = value;
    if (text == "[MASK]") identity.special.mask = value;
  }
  return identity;
}

std::string VocabularyFile::Decode(std::span<const int32_t> ids) const {
  std::string text;
  for (int32_t id : ids) {
    if (id < 0 || id >= size()) {
      absl::StrAppend(&text, text.empty() ? "" : " ", "<", id, ">");
      continue;
    }
    absl::string_view piece_text = piece(id);
    const bool continues = piece_text.size() > 2 && absl::ConsumePrefix(&piece_text, "##");
    absl::StrAppend(&text, continues || text.empty() ? "" : " ", piece_text);
  }
  return text;
}

}  // namespace sluice
