// Byte-level BPE, the tokenizer of GPT-2 and OPT: the text's bytes, divided into words
// (byte_pair_words.h), each cut by merges (byte_pair_merger.h). Ids equal those of
// ByteLevelBPETokenizer in the Python package `tokenizers` (add_prefix_space False). The special
// tokens say whose vocabulary it is, and what a row gets:
//
//   OPT     </s> and <pad> are there. </s> is bos and eos; a row begins with it and gets nothing at
//           its end, as GPT2Tokenizer of `transformers` does it for OPT. RoBERTa's vocabulary is
//           taken for OPT's, of which it is a copy; there is no [MASK].
//   GPT-2   else <|endoftext|> is there; it is bos and eos. A row ends with it, as documents do in
//           GPT-2's training; GPT2Tokenizer adds nothing. Laid end to end, rows are the same run of
//           tokens as if each began with it, but for the ends.
//
// Every byte has a token, so nothing is unknown, and Decode gives back the very text.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "data_tools/text/byte_pair_merger.h"
#include "data_tools/text/byte_pair_vocabulary.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {

struct BytePairOptions {
  bool recognize_special_tokens = true;  // tokenizer.h
};

// What learnt vocabularies begin with: OPT's, with its ids.
inline constexpr absl::string_view kBytePairSpecialTokens[] = {"<s>", "<pad>", "</s>", "<unk>"};

class BytePairTokenizer : public Tokenizer {
 public:
  // DataError when the vocabulary has neither OPT's nor GPT-2's special tokens.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(BytePairVocabulary vocabulary,
                                                           const BytePairOptions& options);

  absl::string_view kind() const override { return "bpe"; }
  bool cased() const override { return true; }
  int32_t vocabulary_size() const override { return static_cast<int32_t>(texts_.size()); }
  const std::string& vocabulary_sha256() const override { return vocabulary_.sha256; }
  const SpecialTokens& special() const override { return special_; }
  absl::Span<const int32_t> row_prefix() const override { return prefix_; }
  absl::Span<const int32_t> row_suffix() const override { return suffix_; }
  absl::string_view paragraph_separator() const override { return "\n"; }
  void Tokenize(absl::string_view text, std::vector<int32_t>* ids) const override;
  std::string Decode(absl::Span<const int32_t> ids) const override;
  absl::string_view TokenText(int32_t id) const override { return vocabulary_.tokens[id]; }
  bool ContinuesWord(int32_t id) const override;

 private:
  BytePairTokenizer(BytePairVocabulary vocabulary, const BytePairOptions& options);
  void ChooseSpecialTokens();
  bool IsSpecial(int32_t id) const;
  void TokenizePlain(absl::string_view text, std::vector<int32_t>* ids) const;

  BytePairOptions options_;
  BytePairVocabulary vocabulary_;
  BytePairMerger merger_;
  SpecialTokens special_;
  std::vector<std::pair<std::string, int32_t>> recognized_;  // special tokens in a text
  std::vector<int32_t> prefix_, suffix_;
  std::vector<std::string> texts_;  // by id: the bytes that the token stands for
  // Words that are one token, by their bytes: most words of a text, found without merging.
  absl::flat_hash_map<absl::string_view, int32_t> whole_words_;
};

}  // namespace sluice
