#include "data_tools/text/tokenizer.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data_tools/text/vocabulary.h"
#include "data_tools/text/wordpiece.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

constexpr absl::string_view kKnownKinds = "wordpiece";

// tokenizer.yaml, or the defaults where there is none.
struct Description {
  std::string file;  // empty: there is no tokenizer.yaml
  std::string kind;
  std::optional<bool> cased;
  std::optional<int64_t> size;
  std::string sha256;
  std::string vocabulary = "vocab.txt";
};

absl::StatusOr<Description> ReadDescription(const std::string& file) {
  Description description;
  description.file = file;
  try {
    const YAML::Node root = YAML::LoadFile(file);
    if (!root.IsMap()) return DataError("tokenizer description is not a map", file);
    description.kind = root["kind"].as<std::string>();
    description.cased = root["cased"].as<bool>();
    description.size = root["size"].as<int64_t>();
    description.sha256 = root["sha256"].as<std::string>();
  } catch (const YAML::Exception& error) {
    return DataError("tokenizer description needs kind, cased, size and sha256",
                     absl::StrCat(file, ":", error.mark.line + 1), error.msg);
  }
  return description;
}

absl::StatusOr<Description> Describe(const TokenizerOptions& options, std::string* vocabulary) {
  namespace fs = std::filesystem;
  *vocabulary = options.path;
  if (!fs::is_directory(options.path)) return Description{};
  *vocabulary = (fs::path(options.path) / "vocab.txt").string();
  const std::string file = (fs::path(options.path) / "tokenizer.yaml").string();
  if (fs::exists(file)) return ReadDescription(file);
  if (!fs::exists(*vocabulary)) {
    return DataError("folder has neither tokenizer.yaml nor vocab.txt", options.path);
  }
  return Description{};
}

absl::Status CheckAgreement(const TokenizerOptions& options, const Description& description) {
  if (!options.kind.empty() && !description.kind.empty() && options.kind != description.kind) {
    return UsageError("tokenizer is of another kind than asked for", description.file,
                      absl::StrCat(description.kind, ", ", options.kind));
  }
  if (options.cased && description.cased && *options.cased != *description.cased) {
    return UsageError("tokenizer's `cased` is not what was asked for", description.file,
                      absl::StrCat(*description.cased ? "true" : "false", ", ",
                                   *options.cased ? "true" : "false"));
  }
  return absl::OkStatus();
}

absl::Status CheckVocabulary(const Vocabulary& vocabulary, const Description& description) {
  if (description.size && *description.size != vocabulary.size()) {
    return DataError("vocabulary has another size than tokenizer.yaml says", description.file,
                     absl::StrCat("size ", *description.size, ", lines ", vocabulary.size()));
  }
  if (!description.sha256.empty() && description.sha256 != vocabulary.sha256()) {
    return DataError("vocabulary has another sha256 than tokenizer.yaml says", description.file,
                     absl::StrCat(description.sha256, ", found ", vocabulary.sha256()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const TokenizerOptions& options) {
  std::string file;
  ASSIGN_OR_RETURN(const Description description, Describe(options, &file));
  RETURN_IF_ERROR(CheckAgreement(options, description));
  const std::string kind = !options.kind.empty()       ? options.kind
                           : !description.kind.empty() ? description.kind
                                                       : "wordpiece";
  if (kind != "wordpiece") {
    return UsageError("unknown kind of tokenizer", options.path,
                      absl::StrCat("\"", kind, "\", known: ", kKnownKinds));
  }
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(file));
  RETURN_IF_ERROR(CheckVocabulary(vocabulary, description));
  const bool has_upper_case = vocabulary.HasUpperCase();
  const bool cased = options.cased.value_or(description.cased.value_or(has_upper_case));
  if (cased != has_upper_case && description.file.empty()) {
    LogWarning(absl::StrCat(file, ": cased is ", cased ? "true" : "false", ", but the vocabulary ",
                            has_upper_case ? "has" : "has no", " upper-case letters"));
  }
  WordPieceOptions wordpiece;
  wordpiece.normalization = {.lower_case = !cased, .strip_accents = !cased};
  wordpiece.recognize_special_tokens = options.recognize_special_tokens;
  return WordPieceTokenizer::Create(std::move(vocabulary), file, wordpiece);
}

}  // namespace sluice
