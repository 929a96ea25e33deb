// A WordPiece vocabulary file (one piece a line, id = line number from 0) as far as shards need it:
// its identity, and pieces for display. Tokenizing is the business of data_tools.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/shard_format.h"

namespace sluice {

class VocabularyFile {
 public:
  // DataError: cannot be read, is empty, or repeats a piece (with both line numbers).
  static absl::StatusOr<VocabularyFile> Read(const std::string& path);
  // The same from a file's bytes; `name` stands for it in errors.
  static absl::StatusOr<VocabularyFile> FromBytes(const std::string& bytes,
                                                  const std::string& name);

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const std::string& piece(int64_t id) const { return pieces_[static_cast<size_t>(id)]; }
  const std::string& sha256() const { return sha256_; }

  // Identity of a tokenizer with this vocabulary; special ids are those of [PAD], [UNK], [CLS],
  // [SEP] and [MASK].
  TokenizerIdentity Identity(const std::string& kind, bool cased) const;

  // Text for people: pieces joined by spaces, "##" continuations without. Ids outside of the
  // vocabulary read as "<id>".
  std::string Decode(std::span<const int32_t> ids) const;

 private:
  std::vector<std::string> pieces_;
  std::string sha256_;
};

}  // namespace sluice
