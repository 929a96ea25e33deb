#include "data_tools/text/tokenizer.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data/shard_format.h"
#include "data_tools/text/byte_pair.h"
#include "data_tools/text/vocabulary.h"
#include "data_tools/text/wordpiece.h"
#include "yaml-cpp/yaml.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr char kWordPiece[] = "wordpiece";
constexpr char kBytePair[] = "bpe";

// tokenizer.yaml, or nothing where there is none.
struct Description {
  std::string file;  // empty: there is no tokenizer.yaml
  std::string kind;
  std::optional<bool> cased;
  std::optional<int64_t> size;
  std::string sha256;
};

absl::StatusOr<Description> ReadDescription(const std::string& folder) {
  Description description;
  const fs::path file = fs::path(folder) / "tokenizer.yaml";
  if (!fs::exists(file)) return description;
  description.file = file.string();
  try {
    const YAML::Node root = YAML::LoadFile(description.file);
    if (!root.IsMap()) return DataError("tokenizer description is not a map", description.file);
    description.kind = root["kind"].as<std::string>();
    description.cased = root["cased"].as<bool>();
    description.size = root["size"].as<int64_t>();
    description.sha256 = root["sha256"].as<std::string>();
  } catch (const YAML::Exception& error) {
    return DataError("tokenizer description needs kind, cased, size and sha256",
                     absl::StrCat(description.file, ":", error.mark.line + 1), error.msg);
  }
  return description;
}

// What the files at `path` are, when nothing says so.
absl::StatusOr<std::string> GuessKind(const std::string& path) {
  if (!fs::is_directory(path)) return kWordPiece;
  const bool is_wordpiece = fs::exists(fs::path(path) / kVocabularyFileName);
  const bool is_byte_pair = fs::exists(fs::path(path) / kVocabularyJsonFileName);
  if (is_wordpiece && is_byte_pair) {
    return DataError("folder has vocabularies of two kinds: say which one", path,
                     absl::StrCat(kVocabularyFileName, ", ", kVocabularyJsonFileName));
  }
  if (is_wordpiece) return kWordPiece;
  if (is_byte_pair) return kBytePair;
  return DataError("folder has neither tokenizer.yaml nor vocab.txt nor vocab.json", path);
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

absl::Status CheckVocabulary(int64_t size, const std::string& sha256,
                             const Description& description) {
  if (description.size && *description.size != size) {
    return DataError("vocabulary has another size than tokenizer.yaml says", description.file,
                     absl::StrCat("size ", *description.size, ", tokens ", size));
  }
  if (!description.sha256.empty() && description.sha256 != sha256) {
    return DataError("vocabulary has another sha256 than tokenizer.yaml says", description.file,
                     absl::StrCat(description.sha256, ", found ", sha256));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadWordPiece(const TokenizerOptions& options,
                                                         const Description& description) {
  const std::string file = VocabularyPaths(options.path, kWordPiece).front();
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(file));
  RETURN_IF_ERROR(CheckVocabulary(vocabulary.size(), vocabulary.sha256(), description));
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

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadBytePair(const TokenizerOptions& options,
                                                        const Description& description) {
  if (!options.cased.value_or(true)) {
    return UsageError("byte-level BPE is always cased", options.path);
  }
  if (fs::is_regular_file(options.path)) {
    return UsageError("a vocabulary of byte-level BPE is a folder with vocab.json and merges.txt",
                      options.path);
  }
  const std::vector<std::string> files = VocabularyPaths(options.path, kBytePair);
  ASSIGN_OR_RETURN(BytePairVocabulary vocabulary, BytePairVocabulary::Load(files[0], files[1]));
  RETURN_IF_ERROR(CheckVocabulary(static_cast<int64_t>(vocabulary.tokens.size()), vocabulary.sha256,
                                  description));
  return BytePairTokenizer::Create(std::move(vocabulary),
                                   {.recognize_special_tokens = options.recognize_special_tokens});
}

}  // namespace

std::vector<int32_t> Tokenizer::Row(absl::string_view text) const {
  std::vector<int32_t> ids(row_prefix().begin(), row_prefix().end());
  Tokenize(text, &ids);
  ids.insert(ids.end(), row_suffix().begin(), row_suffix().end());
  return ids;
}

absl::Status CheckTokenizerKind(const std::string& kind) {
  if (kind == kWordPiece || kind == kBytePair) return absl::OkStatus();
  return UsageError("unknown kind of tokenizer", "",
                    absl::StrCat("\"", kind, "\", known: ", kWordPiece, ", ", kBytePair));
}

std::vector<std::string> VocabularyPaths(const std::string& path, const std::string& kind) {
  if (!fs::is_directory(path) && kind == kWordPiece) return {path};
  std::vector<std::string> paths;
  for (const std::string& name : VocabularyFileNames(kind)) {
    paths.push_back((fs::path(path) / name).string());
  }
  return paths;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const TokenizerOptions& options) {
  ASSIGN_OR_RETURN(const Description description, ReadDescription(options.path));
  RETURN_IF_ERROR(CheckAgreement(options, description));
  std::string kind = !options.kind.empty() ? options.kind : description.kind;
  if (kind.empty()) {
    ASSIGN_OR_RETURN(kind, GuessKind(options.path));
  }
  const absl::Status known = CheckTokenizerKind(kind);
  if (!known.ok()) return Annotate(known, options.path);
  return kind == kBytePair ? LoadBytePair(options, description)
                           : LoadWordPiece(options, description);
}

}  // namespace sluice
