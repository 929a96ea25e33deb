// A vocabulary file with one token a line; the line's number, from 0, is the token's id.
//
//   ASSIGN_OR_RETURN(const Vocabulary vocabulary, Vocabulary::Load("vocab.txt"));
//   vocabulary.Find("[MASK]");  → 103 in BERT's
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

class Vocabulary {
 public:
  // DataError with file and line for: an unreadable or empty file, an empty line, a carriage
  // return, ill-formed UTF-8, white space at a token's ends, a token that was there before.
  static absl::StatusOr<Vocabulary> Load(const std::string& path);
  // The same from the file's bytes; `name` is for messages.
  static absl::StatusOr<Vocabulary> FromBytes(std::string bytes, const std::string& name);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  // 0 <= id < size().
  absl::string_view token(int32_t id) const { return tokens_[id]; }
  const std::vector<absl::string_view>& tokens() const { return tokens_; }
  // The token's id, or -1.
  int32_t Find(absl::string_view token) const;
  // Of the file's bytes.
  const std::string& sha256() const { return sha256_; }
  // Whether tokens other than [those in brackets] have upper-case ASCII letters.
  bool HasUpperCase() const;

 private:
  Vocabulary() = default;
  std::unique_ptr<const std::string> bytes_;  // what tokens_ point into
  std::vector<absl::string_view> tokens_;
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
  std::string sha256_;
};

}  // namespace sluice
