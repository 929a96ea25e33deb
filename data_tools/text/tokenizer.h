// Text in, token ids out: what every kind of tokenizer can do, and how one is loaded.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer({.path = "vocab.txt"}));
//   std::vector<int32_t> ids = {tokenizer->special().cls};
//   tokenizer->Tokenize("Sluice gates.", &ids);
//   ids.push_back(tokenizer->special().sep);
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
};

// Immutable: one object may serve many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // "wordpiece".
  virtual absl::string_view kind() const = 0;
  // Whether upper and lower case are told apart.
  virtual bool cased() const = 0;
  virtual int32_t vocabulary_size() const = 0;
  // Of the vocabulary's bytes: two tokenizers of one kind and casing with equal sums are equal.
  virtual const std::string& vocabulary_sha256() const = 0;
  virtual const SpecialTokens& special() const = 0;

  // Appends the ids of `text` (UTF-8; ill-formed parts are dropped) to `ids`. Adds no [CLS] or
  // [SEP].
  virtual void Tokenize(absl::string_view text, std::vector<int32_t>* ids) const = 0;
  // Text for people: words with one space between them; an id that is none of the vocabulary's
  // shows as "[id N]".
  virtual std::string Decode(absl::Span<const int32_t> ids) const = 0;
  // The token as the vocabulary has it. 0 <= id < vocabulary_size().
  virtual absl::string_view TokenText(int32_t id) const = 0;
  // Whether the token goes on with the word of the token before it ("##ing").
  virtual bool ContinuesWord(int32_t id) const = 0;
};

struct TokenizerOptions {
  // A vocabulary file, or a folder with a tokenizer.yaml (as learn-vocabulary writes it) or at
  // least a vocab.txt.
  std::string path;
  // Empty: what tokenizer.yaml says; without one, "wordpiece".
  std::string kind = "";
  // Unset: what tokenizer.yaml says; without one, whether the vocabulary has upper-case letters.
  std::optional<bool> cased = std::nullopt;
  // "[MASK]" and the other special tokens, written exactly so in a text, become their ids, as in
  // the Python package `tokenizers`. Off: they are text like any other ("[", "mask", "]"), as in
  // the original BERT.
  bool recognize_special_tokens = true;
};

// DataError when the files are missing or wrong (vocabulary.h), when their size or sum is not what
// tokenizer.yaml says, or a special token is missing; UsageError for an unknown kind and when
// `kind` or `cased` contradict tokenizer.yaml.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const TokenizerOptions& options);

}  // namespace sluice
