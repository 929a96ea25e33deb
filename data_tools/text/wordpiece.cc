#include "data_tools/text/wordpiece.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Tokenizer>> WordPieceTokenizer::Create(
    Vocabulary vocabulary, const std::string& name, const WordPieceOptions& options) {
  for (const absl::string_view token : kWordPieceSpecialTokens) {
    if (vocabulary.Find(token) < 0) {
      return DataError("vocabulary lacks a special token", name,
                       absl::StrCat(token, ", lines ", vocabulary.size()));
    }
  }
  return std::unique_ptr<Tokenizer>(new WordPieceTokenizer(std::move(vocabulary), options));
}

WordPieceTokenizer::WordPieceTokenizer(Vocabulary vocabulary, const WordPieceOptions& options)
    : options_(options),
      vocabulary_(std::move(vocabulary)),
      special_{.pad = vocabulary_.Find("[PAD]"),
               .unk = vocabulary_.Find("[UNK]"),
               .cls = vocabulary_.Find("[CLS]"),
               .sep = vocabulary_.Find("[SEP]"),
               .mask = vocabulary_.Find("[MASK]")},
      basic_(options.normalization),
      trie_(vocabulary_.tokens()),
      continuation_(trie_.Walk("##")) {}

void WordPieceTokenizer::TokenizeWord(absl::string_view word, int64_t characters,
                                      std::vector<int32_t>* ids) const {
  if (characters > kLongestWordCharacters) {
    ids->push_back(special_.unk);
    return;
  }
  const size_t before = ids->size();
  uint32_t start = PieceTrie::kRoot;
  while (!word.empty()) {
    const PieceTrie::Match match = trie_.LongestPrefix(start, word);
    if (match.value == PieceTrie::kNone) {
      ids->resize(before);
      ids->push_back(special_.unk);
      return;
    }
    ids->push_back(match.value);
    word.remove_prefix(match.bytes);
    start = continuation_;
  }
}

void WordPieceTokenizer::TokenizePlain(absl::string_view text, std::vector<int32_t>* ids) const {
  basic_.ForEachWord(text, [&](absl::string_view word, int64_t characters) {
    TokenizeWord(word, characters, ids);
  });
}

int32_t WordPieceTokenizer::SpecialTokenAt(absl::string_view text, size_t* bytes) const {
  for (const absl::string_view token : kWordPieceSpecialTokens) {
    if (absl::StartsWith(text, token)) {
      *bytes = token.size();
      return vocabulary_.Find(token);
    }
  }
  return -1;
}

void WordPieceTokenizer::Tokenize(absl::string_view text, std::vector<int32_t>* ids) const {
  if (options_.recognize_special_tokens) {
    size_t from = 0;
    while ((from = text.find('[', from)) != absl::string_view::npos) {
      size_t bytes = 0;
      const int32_t id = SpecialTokenAt(text.substr(from), &bytes);
      if (id < 0) {
        ++from;
        continue;
      }
      TokenizePlain(text.substr(0, from), ids);
      ids->push_back(id);
      text.remove_prefix(from + bytes);
      from = 0;
    }
  }
  TokenizePlain(text, ids);
}

bool WordPieceTokenizer::ContinuesWord(int32_t id) const {
  const absl::string_view token = vocabulary_.token(id);
  return token.size() > 2 && absl::StartsWith(token, "##");
}

std::string WordPieceTokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocabulary_.size() && ContinuesWord(id)) {
      absl::StrAppend(&text, vocabulary_.token(id).substr(2));
      continue;
    }
    if (!text.empty()) text.push_back(' ');
    if (id >= 0 && id < vocabulary_.size()) {
      absl::StrAppend(&text, vocabulary_.token(id));
    } else {
      absl::StrAppend(&text, "[id ", id, "]");
    }
  }
  return text;
}

}  // namespace sluice
