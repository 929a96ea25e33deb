#include "data/vocabulary_file.h"

#include <iterator>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/byte_alphabet.h"
#include "data/content_hash.h"
#include "data/vocabulary_json.h"

namespace sluice {

namespace {

absl::StatusOr<std::vector<std::string>> ReadLines(absl::string_view text,
                                                   const std::string& path) {
  absl::ConsumeSuffix(&text, "\n");
  if (text.empty()) return DataError("vocabulary is empty", path);
  std::vector<std::string> pieces;
  absl::flat_hash_map<std::string, int64_t> line_of;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    const int64_t number = std::ssize(pieces) + 1;
    const auto [found, inserted] = line_of.try_emplace(std::string(line), number);
    if (!inserted) {
      return DataError("vocabulary repeats a piece", absl::StrCat(path, ":", number),
                       absl::StrCat("\"", line, "\" is also on line ", found->second));
    }
    pieces.emplace_back(line);
  }
  return pieces;
}

}  // namespace

absl::StatusOr<VocabularyFile> VocabularyFile::Read(const std::vector<std::string>& paths,
                                                    const std::string& kind) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(files.emplace_back(), ReadWholeFile(path));
  }
  return FromBytes(files, kind, paths.front());
}

absl::StatusOr<VocabularyFile> VocabularyFile::FromBytes(const std::vector<std::string>& files,
                                                         const std::string& kind,
                                                         const std::string& name) {
  CHECK_EQ(files.size(), VocabularyFileNames(kind).size());
  VocabularyFile vocabulary;
  vocabulary.is_byte_pair_ = kind == "bpe";
  vocabulary.sha256_ = Sha256Text(absl::StrJoin(files, ""));
  ASSIGN_OR_RETURN(vocabulary.pieces_, vocabulary.is_byte_pair_
                                           ? ParseVocabularyJson(files.front(), name)
                                           : ReadLines(files.front(), name));
  return vocabulary;
}

TokenizerIdentity VocabularyFile::WordPieceIdentity(bool cased) const {
  TokenizerIdentity identity{
      .kind = "wordpiece", .cased = cased, .vocabulary_size = size(), .vocabulary_sha256 = sha256_};
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
  return is_byte_pair_ ? DecodeBytePair(ids) : DecodeWordPiece(ids);
}

std::string VocabularyFile::DecodeBytePair(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < 0 || id >= size()) {
      absl::StrAppend(&text, "<", id, ">");
    } else {
      text += BytesOfToken(piece(id)).value_or(piece(id));
    }
  }
  return text;
}

std::string VocabularyFile::DecodeWordPiece(std::span<const int32_t> ids) const {
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

absl::Status CheckVocabulary(const std::vector<std::string>& paths,
                             const TokenizerIdentity& tokenizer) {
  ASSIGN_OR_RETURN(const VocabularyFile vocabulary, VocabularyFile::Read(paths, tokenizer.kind));
  if (vocabulary.sha256() == tokenizer.vocabulary_sha256) return absl::OkStatus();
  return DataError("vocabulary is not the one that the manifest names", absl::StrJoin(paths, ", "),
                   absl::StrCat("sha256 ", vocabulary.sha256(), ", manifest says ",
                                tokenizer.vocabulary_sha256));
}

}  // namespace sluice
