// Which kind of token stands where: what gate statistics are split by. Attention sinks sit on
// special tokens, punctuation and first positions, so these are told apart.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/shard_format.h"

namespace sluice {

class TokenClasses {
 public:
  // `pieces`: the vocabulary's texts by id; may be empty when it is not known, then every token
  // that is not special is a word.
  TokenClasses(const TokenizerIdentity& tokenizer, const std::vector<std::string>& pieces);

  // By class number. WordPiece: [CLS], [SEP], [MASK], first position, punctuation, word,
  // continuation. BPE: separator (bos and eos), first position, punctuation, word, continuation; a
  // token is a word when it begins with white space, and punctuation with or without that.
  const std::vector<std::string>& names() const { return names_; }

  // How many classes are of special tokens; they come first.
  int64_t special_classes() const { return first_; }

  // Fills `classes` (B·T) for the batch's input ids (masks applied). Padding is kUncountedToken.
  // A row's first position is its own class unless a special token stands there.
  void Classify(const Batch& batch, std::vector<uint8_t>& classes) const;

 private:
  std::vector<std::string> names_;
  uint8_t first_ = 0;           // class number of "first"; those of special tokens are below it
  std::vector<uint8_t> of_id_;  // (V)
};

}  // namespace sluice
