#include "train/huggingface_byte_pair.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "core/status.h"
#include "data/vocabulary_json.h"

namespace sluice {
namespace {

// Tokens by id: the model's, and those that were added to it.
absl::StatusOr<std::string> VocabularyJsonText(const Json& model, const Json& added,
                                               const std::string& path) {
  const auto wrong = [&](const std::string& what) {
    return CheckpointError("model.vocab does not number its tokens from 0 on", path, what);
  };
  std::map<int64_t, std::string> tokens;
  const auto add = [&](const std::string& token, const Json& id) {
    if (!id.is_number_unsigned()) return false;
    const auto [other, inserted] = tokens.try_emplace(id.get<int64_t>(), token);
    return inserted || other->second == token;
  };
  const Json vocabulary = model.value("vocab", Json());
  if (!vocabulary.is_object() || !added.is_array()) {
    return CheckpointError("model.vocab or added_tokens is not there", path);
  }
  for (const auto& [token, id] : vocabulary.items()) {
    if (!add(token, id)) return wrong(absl::StrCat(token, ": ", id.dump()));
  }
  for (const Json& entry : added) {
    const Json token = entry.is_object() ? entry.value("content", Json()) : Json();
    if (!token.is_string() || !add(token.get<std::string>(), entry.value("id", Json()))) {
      return wrong(absl::StrCat("added_tokens: ", entry.dump()));
    }
  }
  std::string text = "{";
  int64_t next = 0;
  for (const auto& [id, token] : tokens) {
    if (id != next) return wrong(absl::StrCat("no token has the id ", next));
    absl::StrAppend(&text, next++ > 0 ? "," : "", Json(token).dump(), ":", id);
  }
  return text + "}";
}

// A merge is "a b" or, since 2024, ["a", "b"].
absl::StatusOr<std::string> MergesText(const Json& merges, const std::string& path) {
  if (!merges.is_array()) return CheckpointError("model.merges is not a list", path);
  std::string text = absl::StrCat(kMergesVersionLine, "\n");
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      absl::StrAppend(&text, merge.get<std::string>(), "\n");
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      absl::StrAppend(&text, merge[0].get<std::string>(), " ", merge[1].get<std::string>(), "\n");
    } else {
      return CheckpointError("a merge is not two tokens", path, merge.dump());
    }
  }
  return text;
}

}  // namespace

absl::Status UnsupportedTokenizer(const std::string& path, absl::string_view values) {
  return CheckpointError("is of a tokenizer that cannot be imported", path, values);
}

absl::Status CheckTokenizerKey(const Json& object, const char* key, const std::vector<Json>& known,
                               const std::string& path) {
  const auto found = object.find(key);
  if (found == object.end()) return absl::OkStatus();
  for (const Json& value : known) {
    if (*found == value) return absl::OkStatus();
  }
  return UnsupportedTokenizer(
      path, absl::StrCat(key, ": ", found->dump(), ", known: ", Json(known).dump()));
}

absl::StatusOr<std::vector<std::string>> ReadBytePairFile(const Json& file,
                                                          const std::string& path) {
  const Json model = file.value("model", Json::object());
  RETURN_IF_ERROR(CheckTokenizerKey(file, "normalizer", {Json()}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "dropout", {Json(), 0.0}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "continuing_subword_prefix", {Json(), ""}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "end_of_word_suffix", {Json(), ""}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "byte_fallback", {false}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "ignore_merges", {false}, path));
  const Json words = file.value("pre_tokenizer", Json());
  if (!words.is_object() || words.value("type", Json()) != "ByteLevel") {
    return UnsupportedTokenizer(
        path, absl::StrCat("pre_tokenizer: ", words.dump(), ", known: ByteLevel"));
  }
  RETURN_IF_ERROR(CheckTokenizerKey(words, "add_prefix_space", {false}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(words, "use_regex", {true}, path));
  ASSIGN_OR_RETURN(std::string vocabulary,
                   VocabularyJsonText(model, file.value("added_tokens", Json::array()), path));
  ASSIGN_OR_RETURN(std::string merges, MergesText(model.value("merges", Json()), path));
  return std::vector<std::string>{vocabulary, merges};
}

absl::Status CheckBytePairs(const std::vector<std::string>& files, const std::string& folder) {
  const auto tokens = ParseVocabularyJson(files[0], absl::StrCat(folder, "/vocab.json"));
  if (!tokens.ok()) return CheckpointError(tokens.status().message());
  const std::set<std::string> known(tokens->begin(), tokens->end());
  if (!(known.contains("</s>") && known.contains("<pad>")) && !known.contains("<|endoftext|>")) {
    return CheckpointError("the vocabulary lacks </s> and <pad> (OPT), or <|endoftext|> (GPT-2)",
                           folder);
  }
  const std::vector<std::string> lines = absl::StrSplit(files[1], '\n');
  for (size_t line = 0; line < lines.size(); ++line) {
    const bool skip =
        line == 0 ? IsMergesVersionLine(lines[0]) : line + 1 == lines.size() && lines[line].empty();
    if (skip) continue;
    const std::vector<std::string> pair = absl::StrSplit(lines[line], ' ');
    if (line > 0 && pair.size() == 2 && known.contains(pair[0]) && known.contains(pair[1]) &&
        known.contains(pair[0] + pair[1])) {
      continue;
    }
    return CheckpointError(line == 0
                               ? "merges do not begin with #version: 0.2"
                               : "a merge is not two tokens that become one of the vocabulary's",
                           absl::StrCat(folder, "/merges.txt:", line + 1), lines[line]);
  }
  return absl::OkStatus();
}

Json BytePairConfig(const SpecialTokenIds& special, int64_t max_length) {
  const bool is_opt = special.pad >= 0;
  const char* end = is_opt ? "</s>" : "<|endoftext|>";
  Json config = {{"tokenizer_class", "GPT2Tokenizer"},
                 {"add_prefix_space", false},
                 {"add_bos_token", is_opt},
                 {"errors", "replace"},
                 {"model_max_length", max_length},
                 {"bos_token", end},
                 {"eos_token", end},
                 {"unk_token", end}};
  if (is_opt) config["pad_token"] = "<pad>";
  return config;
}

absl::Status CheckBytePairConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const Json file, ReadJsonFile(path));
  RETURN_IF_ERROR(CheckTokenizerKey(file, "tokenizer_class",
                                    {"GPT2Tokenizer", "GPT2TokenizerFast",
                                     "PreTrainedTokenizerFast", "TokenizersBackend", Json()},
                                    path));
  return CheckTokenizerKey(file, "add_prefix_space", {false}, path);
}

}  // namespace sluice
