#include "train/huggingface_tokenizer.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "train/huggingface_byte_pair.h"

namespace sluice {
namespace {

constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kTokenizerFile[] = "tokenizer.json";

// A key that is a truth value, if it is there.
absl::StatusOr<std::optional<bool>> ReadTruth(const Json& object, const char* key,
                                              const std::string& path) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::optional<bool>();
  if (found->is_boolean()) return std::optional<bool>(found->get<bool>());
  return UnsupportedTokenizer(path,
                              absl::StrCat(key, ": ", found->dump(), ", expected true or false"));
}

// Whether tokens other than [those in brackets] have upper-case letters: what a checkpoint's
// vocabulary is taken for.
bool LooksCased(const std::string& vocabulary) {
  for (absl::string_view token : absl::StrSplit(vocabulary, '\n')) {
    if (absl::StartsWith(token, "[") && absl::EndsWith(token, "]")) continue;
    for (char c : token) {
      if (absl::ascii_isupper(static_cast<unsigned char>(c))) return true;
    }
  }
  return false;
}

absl::Status CheckCasing(const std::string& vocabulary, std::optional<bool> lower_case,
                         const std::string& path) {
  const bool looks_cased = LooksCased(vocabulary);
  if (!lower_case.has_value() || *lower_case != looks_cased) return absl::OkStatus();
  return UnsupportedTokenizer(
      path,
      absl::StrCat("do_lower_case is ", *lower_case ? "true" : "false", ", but the vocabulary has ",
                   looks_cased ? "" : "no ", "upper-case letters"));
}

// Accents must go exactly where case does.
absl::Status CheckAccents(const Json& object, bool lower_case, const std::string& path) {
  return CheckTokenizerKey(object, "strip_accents", {Json(), Json(lower_case)}, path);
}

absl::StatusOr<std::string> VocabularyText(const Json& tokens, const std::string& path) {
  if (!tokens.is_object() || tokens.empty()) {
    return CheckpointError("model.vocab is not an object of tokens", path);
  }
  std::vector<const std::string*> by_id(tokens.size(), nullptr);
  for (const auto& entry : tokens.items()) {
    const bool fits =
        entry.value().is_number_unsigned() && entry.value().get<uint64_t>() < by_id.size() &&
        by_id[entry.value().get<uint64_t>()] == nullptr && !absl::StrContains(entry.key(), '\n');
    if (!fits) {
      return CheckpointError("model.vocab does not number its tokens from 0 on", path,
                             absl::StrCat(entry.key(), ": ", entry.value().dump()));
    }
    by_id[entry.value().get<uint64_t>()] = &entry.key();
  }
  std::string text;
  for (const std::string* token : by_id) absl::StrAppend(&text, *token, "\n");
  return text;
}

// From tokenizer.json alone: the vocabulary, and that everything else is BERT's.
absl::StatusOr<std::string> ReadWordPieceFile(const Json& file, const std::string& path) {
  const Json none = Json::object();
  const Json model = file.value("model", none), normalizer = file.value("normalizer", none);
  if (!model.is_object() || !normalizer.is_object()) {
    return CheckpointError("model or normalizer is not an object", path);
  }
  if (model.value("type", Json()) != "WordPiece" ||
      normalizer.value("type", Json()) != "BertNormalizer") {
    return UnsupportedTokenizer(
        path, "expected a model BPE, or WordPiece with a normalizer BertNormalizer");
  }
  RETURN_IF_ERROR(CheckTokenizerKey(model, "unk_token", {"[UNK]"}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "continuing_subword_prefix", {"##"}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(model, "max_input_chars_per_word", {100}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(normalizer, "clean_text", {true}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(normalizer, "handle_chinese_chars", {true}, path));
  ASSIGN_OR_RETURN(const std::string vocabulary,
                   VocabularyText(model.value("vocab", Json()), path));
  ASSIGN_OR_RETURN(const std::optional<bool> lower_case, ReadTruth(normalizer, "lowercase", path));
  RETURN_IF_ERROR(CheckAccents(normalizer, lower_case.value_or(true), path));
  RETURN_IF_ERROR(CheckCasing(vocabulary, lower_case, path));
  return vocabulary;
}

absl::Status CheckTokenizerConfig(const std::string& vocabulary, const std::string& path) {
  ASSIGN_OR_RETURN(const Json file, ReadJsonFile(path));
  RETURN_IF_ERROR(CheckTokenizerKey(file, "tokenizer_class",
                                    {"BertTokenizer", "BertTokenizerFast", Json()}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(file, "tokenize_chinese_chars", {true}, path));
  RETURN_IF_ERROR(CheckTokenizerKey(file, "do_basic_tokenize", {true}, path));
  ASSIGN_OR_RETURN(const std::optional<bool> lower_case, ReadTruth(file, "do_lower_case", path));
  if (lower_case.has_value()) RETURN_IF_ERROR(CheckAccents(file, *lower_case, path));
  return CheckCasing(vocabulary, lower_case, path);
}

absl::StatusOr<std::string> ReadAsCheckpoint(const std::string& path) {
  absl::StatusOr<std::string> bytes = ReadWholeFile(path);
  if (!bytes.ok()) return CheckpointError(bytes.status().message());
  return bytes;
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::StatusOr<ImportedVocabulary> ReadTokenizerFile(const std::string& path) {
  ASSIGN_OR_RETURN(const Json file, ReadJsonFile(path));
  const auto model = file.find("model");
  if (model != file.end() && model->is_object() && model->value("type", Json()) == "BPE") {
    ASSIGN_OR_RETURN(std::vector<std::string> files, ReadBytePairFile(file, path));
    return ImportedVocabulary{"bpe", std::move(files)};
  }
  ASSIGN_OR_RETURN(const std::string vocabulary, ReadWordPieceFile(file, path));
  return ImportedVocabulary{"wordpiece", {vocabulary}};
}

absl::StatusOr<ImportedVocabulary> ReadVocabulary(const std::string& folder) {
  const auto at = [&](absl::string_view name) { return absl::StrCat(folder, "/", name); };
  if (Exists(at(kVocabularyFileName))) {
    ASSIGN_OR_RETURN(const std::string vocabulary, ReadAsCheckpoint(at(kVocabularyFileName)));
    return ImportedVocabulary{"wordpiece", {vocabulary}};
  }
  if (Exists(at(kVocabularyJsonFileName)) && Exists(at(kMergesFileName))) {
    ASSIGN_OR_RETURN(const std::string vocabulary, ReadAsCheckpoint(at(kVocabularyJsonFileName)));
    ASSIGN_OR_RETURN(const std::string merges, ReadAsCheckpoint(at(kMergesFileName)));
    return ImportedVocabulary{"bpe", {vocabulary, merges}};
  }
  if (Exists(at(kTokenizerFile))) return ReadTokenizerFile(at(kTokenizerFile));
  return CheckpointError(
      "folder has neither vocab.txt nor vocab.json and merges.txt nor tokenizer.json: save the "
      "model's tokenizer there too",
      folder);
}

}  // namespace

Json TokenizerConfigToHuggingFace(const TokenizerIdentity& tokenizer, int64_t max_length) {
  if (tokenizer.kind == "bpe") return BytePairConfig(tokenizer.special, max_length);
  return {{"tokenizer_class", "BertTokenizer"},
          {"do_lower_case", !tokenizer.cased},
          {"strip_accents", Json()},
          {"tokenize_chinese_chars", true},
          {"model_max_length", max_length},
          {"pad_token", "[PAD]"},
          {"unk_token", "[UNK]"},
          {"cls_token", "[CLS]"},
          {"sep_token", "[SEP]"},
          {"mask_token", "[MASK]"}};
}

absl::StatusOr<ImportedVocabulary> VocabularyFromHuggingFace(const std::string& folder) {
  ASSIGN_OR_RETURN(ImportedVocabulary vocabulary, ReadVocabulary(folder));
  const std::string config = absl::StrCat(folder, "/", kConfigFile);
  if (vocabulary.kind == "bpe") {
    RETURN_IF_ERROR(CheckBytePairs(vocabulary.files, folder));
    if (Exists(config)) RETURN_IF_ERROR(CheckBytePairConfig(config));
  } else if (Exists(config)) {
    RETURN_IF_ERROR(CheckTokenizerConfig(vocabulary.files.front(), config));
  }
  return vocabulary;
}

}  // namespace sluice
