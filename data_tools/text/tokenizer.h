// Text in, token ids out: what every kind of tokenizer can do, and how one is loaded.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer({.path = "vocab.txt"}));
//   const std::vector<int32_t> ids = tokenizer->Row("Sluice gates.");
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

// Ids of the tokens that are not text; -1 where a kind of tokenizer has none.
struct SpecialTokens {
  int32_t pad = -1;
  int32_t unk = -1;
  int32_t cls = -1;
  int32_t sep = -1;
  int32_t mask = -1;
  int32_t bos = -1;  // beginning and end of a text; may be one token
  int32_t eos = -1;
};

// Immutable: one object may serve many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // "wordpiece" or "bpe".
  virtual absl::string_view kind() const = 0;
  // Whether upper and lower case are told apart.
  virtual bool cased() const = 0;
  virtual int32_t vocabulary_size() const = 0;
  // Of the vocabulary's bytes: two tokenizers of one kind and casing with equal sums are equal.
  virtual const std::string& vocabulary_sha256() const = 0;
  virtual const SpecialTokens& special() const = 0;

  // What the tokens of a row of text stand between: [CLS] … [SEP] in WordPiece. May be empty.
  virtual absl::Span<const int32_t> row_prefix() const = 0;
  virtual absl::Span<const int32_t> row_suffix() const = 0;
  // What paragraphs of one row are joined by: a space, unless line ends have tokens.
  virtual absl::string_view paragraph_separator() const = 0;

  // Appends the ids of `text` (UTF-8; an ill-formed part reads as U+FFFD, which WordPiece drops) to
  // `ids`. Adds nothing.
  virtual void Tokenize(absl::string_view text, std::vector<int32_t>* ids) const = 0;
  // row_prefix, the ids of `text`, row_suffix.
  std::vector<int32_t> Row(absl::string_view text) const;
  // WordPiece: text for people, words with one space between them. BPE: the text itself, to the
  // byte. An id that is none of the vocabulary's shows as "[id N]".
  virtual std::string Decode(absl::Span<const int32_t> ids) const = 0;
  // The token as the vocabulary has it. 0 <= id < vocabulary_size().
  virtual absl::string_view TokenText(int32_t id) const = 0;
  // Whether the token goes on with the word of the token before it: "##ing" in WordPiece; in BPE
  // what does not begin with white space and is no punctuation, so a text's first word too.
  virtual bool ContinuesWord(int32_t id) const = 0;
};

struct TokenizerOptions {
  // A folder with a vocabulary (vocab.txt, or vocab.json and merges.txt), with or without the
  // tokenizer.yaml that learn-vocabulary writes; or a vocab.txt.
  std::string path;
  // Empty: what tokenizer.yaml says; without one, what the vocabulary's files are.
  std::string kind = "";
  // Unset: what tokenizer.yaml says; without one, whether the vocabulary has upper-case letters.
  // BPE is always cased.
  std::optional<bool> cased = std::nullopt;
  // "[MASK]" and the other special tokens, written exactly so in a text, become their ids, as in
  // the Python package `tokenizers`. Off: they are text like any other ("[", "mask", "]"), as in
  // the original BERT. BPE: "</s>" and "<pad>", or "<|endoftext|>", as GPT2Tokenizer does.
  bool recognize_special_tokens = true;
};

// DataError when the files are missing or wrong (vocabulary.h, byte_pair_vocabulary.h), when their
// size or sum is not what tokenizer.yaml says, or a special token is missing; UsageError for an
// unknown kind and when `kind` or `cased` contradict the vocabulary.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const TokenizerOptions& options);

// UsageError unless LoadTokenizer knows the kind: "wordpiece" or "bpe".
absl::Status CheckTokenizerKind(const std::string& kind);

// The files of a vocabulary of a known kind: in the folder `path`, or, WordPiece, `path` itself.
std::vector<std::string> VocabularyPaths(const std::string& path, const std::string& kind);

}  // namespace sluice
