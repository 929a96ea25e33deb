// The file side of wordpiece_learner.h.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data_tools/text/sha256.h"
#include "data_tools/text/text_reader.h"
#include "data_tools/text/wordpiece_learner.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Never leaves half a file under the name `path`.
absl::Status WriteFile(const fs::path& path, const std::string& bytes) {
  const fs::path temporary = path.string() + ".partial";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << bytes;
    file.close();
    if (!file) return DataError("cannot write", temporary.string(), std::strerror(errno));
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) return DataError("cannot rename", temporary.string(), error.message());
  return absl::OkStatus();
}

absl::Status RefuseOther(const fs::path& path, const std::string& bytes) {
  if (!fs::exists(path)) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream found;
  found << file.rdbuf();
  if (found.str() == bytes) return absl::OkStatus();
  return DataError("folder holds another vocabulary already", path.string(),
                   "delete it first or choose another folder");
}

}  // namespace

absl::Status WriteWordPieceFolder(const std::vector<std::string>& tokens, bool cased,
                                  const std::string& folder) {
  const std::string vocabulary = absl::StrCat(absl::StrJoin(tokens, "\n"), "\n");
  const std::string description =
      absl::StrCat("kind: wordpiece\ncased: ", cased ? "true" : "false", "\nsize: ", tokens.size(),
                   "\nsha256: ", Sha256Hex(vocabulary), "  # of vocab.txt\n");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return DataError("cannot make folder", folder, error.message());
  const fs::path vocabulary_path = fs::path(folder) / "vocab.txt";
  const fs::path description_path = fs::path(folder) / "tokenizer.yaml";
  RETURN_IF_ERROR(RefuseOther(vocabulary_path, vocabulary));
  RETURN_IF_ERROR(RefuseOther(description_path, description));
  RETURN_IF_ERROR(WriteFile(vocabulary_path, vocabulary));
  return WriteFile(description_path, description);
}

absl::StatusOr<LearnedVocabulary> LearnVocabulary(const LearnVocabularyOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader, TextReader::Open(options.texts));
  WordCounter words(options.cased);
  std::string line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, reader->NextLine(&line));
    if (!more) break;
    words.Add(line);
  }
  if (const int64_t invalid = reader->statistics().invalid_sequences; invalid > 0) {
    LogWarning(absl::StrCat("text has ill-formed UTF-8, which is dropped: ", invalid,
                            " sequences in ", reader->statistics().lines, " lines"));
  }
  absl::StatusOr<LearnedVocabulary> learned = LearnWordPiece(words, options.learner);
  if (!learned.ok()) return Annotate(learned.status(), absl::StrJoin(options.texts, " "));
  if (static_cast<int64_t>(learned->tokens.size()) < options.learner.size) {
    LogWarning(absl::StrCat("text is too small for a vocabulary of ", options.learner.size,
                            " tokens: found ", learned->tokens.size(), " in ",
                            learned->different_words, " different words"));
  }
  RETURN_IF_ERROR(WriteWordPieceFolder(learned->tokens, options.cased, options.folder));
  return learned;
}

}  // namespace sluice
