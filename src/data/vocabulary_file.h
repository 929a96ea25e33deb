// A vocabulary on disk as far as shards need it: its identity, and pieces for display. Tokenizing
// is the business of data_tools.
//
//   WordPiece         vocab.txt: one piece a line, id = line number from 0
//   byte-level BPE    vocab.json (vocabulary_json.h), and merges.txt, which counts for the identity
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/shard_format.h"

namespace sluice {

class VocabularyFile {
 public:
  // `paths`: those of VocabularyFileNames(kind), in that order. DataError: cannot be read, is
  // empty, repeats a piece (with both line numbers), or is no vocab.json.
  static absl::StatusOr<VocabularyFile> Read(const std::vector<std::string>& paths,
                                             const std::string& kind);
  // The same from the files' bytes; `name` stands for them in errors.
  static absl::StatusOr<VocabularyFile> FromBytes(const std::vector<std::string>& files,
                                                  const std::string& kind, const std::string& name);

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const std::string& piece(int64_t id) const { return pieces_[static_cast<size_t>(id)]; }
  const std::vector<std::string>& pieces() const { return pieces_; }
  // Of the bytes of all files, one after the other.
  const std::string& sha256() const { return sha256_; }

  // Identity of a WordPiece tokenizer with this vocabulary; special ids are those of [PAD], [UNK],
  // [CLS], [SEP] and [MASK].
  TokenizerIdentity WordPieceIdentity(bool cased) const;

  // Text for people. WordPiece: pieces joined by spaces, "##" continuations without. BPE: the text
  // itself, whose last character may be cut. Ids outside of the vocabulary read as "<id>".
  std::string Decode(std::span<const int32_t> ids) const;

 private:
  std::string DecodeWordPiece(std::span<const int32_t> ids) const;
  std::string DecodeBytePair(std::span<const int32_t> ids) const;

  bool is_byte_pair_ = false;
  std::vector<std::string> pieces_;
  std::string sha256_;
};

// DataError unless the files are a vocabulary, and the one that `tokenizer` names: its manifest's
// shards hold ids of that one.
absl::Status CheckVocabulary(const std::vector<std::string>& paths,
                             const TokenizerIdentity& tokenizer);

}  // namespace sluice
