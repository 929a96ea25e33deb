// BERT's tokenizer: normalized words (basic_tokenizer.h), each cut into the longest pieces that the
// vocabulary has, from the left; pieces after the first begin with "##" in the vocabulary. A word
// that cannot be cut, or that is longer than 100 characters, becomes [UNK]. Ids equal those of
// BertWordPieceTokenizer in the Python package `tokenizers` (without added [CLS] and [SEP]).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data_tools/text/basic_tokenizer.h"
#include "data_tools/text/piece_trie.h"
#include "data_tools/text/tokenizer.h"
#include "data_tools/text/vocabulary.h"

namespace sluice {

struct WordPieceOptions {
  NormalizationOptions normalization;
  bool recognize_special_tokens = true;  // tokenizer.h
};

inline constexpr absl::string_view kWordPieceSpecialTokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]",
                                                                "[MASK]"};

class WordPieceTokenizer : public Tokenizer {
 public:
  static constexpr int64_t kLongestWordCharacters = 100;

  // DataError when one of kWordPieceSpecialTokens is missing. `name` of the vocabulary is for
  // messages.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(Vocabulary vocabulary,
                                                           const std::string& name,
                                                           const WordPieceOptions& options);

  absl::string_view kind() const override { return "wordpiece"; }
  bool cased() const override { return !options_.normalization.lower_case; }
  int32_t vocabulary_size() const override { return vocabulary_.size(); }
  const std::string& vocabulary_sha256() const override { return vocabulary_.sha256(); }
  const SpecialTokens& special() const override { return special_; }
  absl::Span<const int32_t> row_prefix() const override { return {&special_.cls, 1}; }
  absl::Span<const int32_t> row_suffix() const override { return {&special_.sep, 1}; }
  absl::string_view paragraph_separator() const override { return " "; }
  void Tokenize(absl::string_view text, std::vector<int32_t>* ids) const override;
  std::string Decode(absl::Span<const int32_t> ids) const override;
  absl::string_view TokenText(int32_t id) const override { return vocabulary_.token(id); }
  bool ContinuesWord(int32_t id) const override;

 private:
  WordPieceTokenizer(Vocabulary vocabulary, const WordPieceOptions& options);
  void TokenizeWord(absl::string_view word, int64_t characters, std::vector<int32_t>* ids) const;
  void TokenizePlain(absl::string_view text, std::vector<int32_t>* ids) const;
  // The special token that `text` begins with, or -1; sets its length.
  int32_t SpecialTokenAt(absl::string_view text, size_t* bytes) const;

  WordPieceOptions options_;
  Vocabulary vocabulary_;
  SpecialTokens special_;
  BasicTokenizer basic_;
  PieceTrie trie_;
  uint32_t continuation_;  // the trie's node after "##"
};

}  // namespace sluice
