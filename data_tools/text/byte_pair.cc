#include "data_tools/text/byte_pair.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/byte_alphabet.h"
#include "data_tools/text/byte_pair_words.h"
#include "data_tools/text/utf8.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Tokenizer>> BytePairTokenizer::Create(
    BytePairVocabulary vocabulary, const BytePairOptions& options) {
  const bool is_opt = vocabulary.Find("</s>") >= 0 && vocabulary.Find("<pad>") >= 0;
  if (!is_opt && vocabulary.Find("<|endoftext|>") < 0) {
    return DataError("vocabulary lacks special tokens", vocabulary.name,
                     absl::StrCat("</s> and <pad> (OPT), or <|endoftext|> (GPT-2); tokens ",
                                  vocabulary.tokens.size()));
  }
  return std::unique_ptr<Tokenizer>(new BytePairTokenizer(std::move(vocabulary), options));
}

BytePairTokenizer::BytePairTokenizer(BytePairVocabulary vocabulary, const BytePairOptions& options)
    : options_(options), vocabulary_(std::move(vocabulary)), merger_(vocabulary_) {
  ChooseSpecialTokens();
  texts_.reserve(vocabulary_.tokens.size());
  for (const std::string& token : vocabulary_.tokens) {
    // What is not in the byte alphabet never comes from a text, and stands for itself.
    texts_.push_back(BytesOfToken(token).value_or(token));
  }
  std::vector<int32_t> ids;
  for (size_t id = 0; id < texts_.size(); ++id) {
    ids.clear();
    merger_.Cut(texts_[id], &ids);
    const auto token = static_cast<int32_t>(id);
    if (ids == std::vector<int32_t>{token}) whole_words_.emplace(texts_[id], token);
  }
}

void BytePairTokenizer::ChooseSpecialTokens() {
  special_.pad = vocabulary_.Find("<pad>");
  special_.bos = special_.eos = vocabulary_.Find("</s>");
  if (special_.pad >= 0 && special_.eos >= 0) {
    special_.unk = vocabulary_.Find("<unk>");
    recognized_ = {{"</s>", special_.eos}, {"<pad>", special_.pad}};
    prefix_ = {special_.bos};
    return;
  }
  special_ = SpecialTokens();
  special_.bos = special_.eos = vocabulary_.Find("<|endoftext|>");
  recognized_ = {{"<|endoftext|>", special_.eos}};
  suffix_ = {special_.eos};
}

void BytePairTokenizer::TokenizePlain(absl::string_view text, std::vector<int32_t>* ids) const {
  ForEachBytePairWord(text, [&](absl::string_view word) {
    const auto found = whole_words_.find(word);
    if (found != whole_words_.end()) {
      ids->push_back(found->second);
    } else {
      merger_.Cut(word, ids);
    }
  });
}

void BytePairTokenizer::Tokenize(absl::string_view text, std::vector<int32_t>* ids) const {
  std::string repaired;
  if (CountInvalidUtf8(text) > 0) {
    repaired = std::string(text);
    ReplaceInvalidUtf8(&repaired);
    text = repaired;
  }
  size_t from = 0;
  while (options_.recognize_special_tokens &&
         (from = text.find('<', from)) != absl::string_view::npos) {
    const auto found = std::find_if(recognized_.begin(), recognized_.end(), [&](const auto& token) {
      return absl::StartsWith(text.substr(from), token.first);
    });
    if (found == recognized_.end()) {
      ++from;
      continue;
    }
    TokenizePlain(text.substr(0, from), ids);
    ids->push_back(found->second);
    text.remove_prefix(from + found->first.size());
    from = 0;
  }
  TokenizePlain(text, ids);
}

std::string BytePairTokenizer::Decode(absl::Span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocabulary_size()) {
      text += texts_[id];
    } else {
      absl::StrAppend(&text, "[id ", id, "]");
    }
  }
  ReplaceInvalidUtf8(&text);
  return text;
}

bool BytePairTokenizer::IsSpecial(int32_t id) const {
  return id == special_.pad || id == special_.unk || id == special_.bos || id == special_.eos;
}

bool BytePairTokenizer::ContinuesWord(int32_t id) const {
  const std::string& text = texts_[id];
  if (IsSpecial(id) || text.empty() || absl::ascii_isspace(text.front())) return false;
  return !std::all_of(text.begin(), text.end(), absl::ascii_ispunct);
}

}  // namespace sluice
