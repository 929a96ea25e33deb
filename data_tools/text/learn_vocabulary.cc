#include "data_tools/text/learn_vocabulary.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"
#include "data/shard_format.h"
#include "data_tools/text/byte_pair_learner.h"
#include "data_tools/text/text_reader.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

absl::Status RefuseOther(const fs::path& path, const std::string& bytes) {
  if (!fs::exists(path)) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream found;
  found << file.rdbuf();
  if (found.str() == bytes) return absl::OkStatus();
  return UsageError("folder holds another vocabulary already", path.string(),
                    "delete it first or choose another folder");
}

// What a learner made: the bytes of the files that VocabularyFileNames names.
struct Learnt {
  LearnedVocabulary vocabulary;
  std::vector<std::string> files;
};

absl::Status WriteFolder(const LearnVocabularyOptions& options, const Learnt& learnt) {
  std::vector<std::string> names = VocabularyFileNames(options.tokenizer);
  const bool cased = options.cased || options.tokenizer == "bpe";
  std::vector<std::string> files = learnt.files;
  files.push_back(absl::StrCat("kind: ", options.tokenizer, "\ncased: ", cased ? "true" : "false",
                               "\nsize: ", learnt.vocabulary.tokens.size(),
                               "\nsha256: ", Sha256Text(absl::StrJoin(learnt.files, "")), "  # of ",
                               absl::StrJoin(names, " and "), "\n"));
  names.push_back("tokenizer.yaml");
  for (size_t i = 0; i < names.size(); ++i) {
    RETURN_IF_ERROR(RefuseOther(fs::path(options.folder) / names[i], files[i]));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(options.folder, "/", names[i]), files[i]));
  }
  return absl::OkStatus();
}

// Shows every line to `counter`.
template <typename Counter>
absl::Status CountWords(const std::vector<std::string>& texts, Counter* counter) {
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader, TextReader::Open(texts));
  std::string line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, reader->NextLine(&line));
    if (!more) break;
    counter->Add(line);
  }
  if (const int64_t invalid = reader->statistics().invalid_sequences; invalid > 0) {
    LogWarning(absl::StrCat("text has ill-formed UTF-8, which is no text: ", invalid,
                            " sequences in ", reader->statistics().lines, " lines"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Learnt> LearnWordPieceFiles(const LearnVocabularyOptions& options) {
  WordCounter words(options.cased);
  RETURN_IF_ERROR(CountWords(options.texts, &words));
  absl::StatusOr<LearnedVocabulary> learned = LearnWordPiece(words, options.learner);
  if (!learned.ok()) return Annotate(learned.status(), absl::StrJoin(options.texts, " "));
  Learnt learnt;
  learnt.vocabulary = *std::move(learned);
  learnt.files = {absl::StrCat(absl::StrJoin(learnt.vocabulary.tokens, "\n"), "\n")};
  return learnt;
}

absl::StatusOr<Learnt> LearnBytePairFiles(const LearnVocabularyOptions& options) {
  BytePairWordCounter words;
  RETURN_IF_ERROR(CountWords(options.texts, &words));
  absl::StatusOr<LearnedBytePairs> learned = LearnBytePairs(
      words,
      {.size = options.learner.size, .minimum_frequency = options.learner.minimum_frequency});
  if (!learned.ok()) return Annotate(learned.status(), absl::StrJoin(options.texts, " "));
  Learnt learnt;
  learnt.files = {VocabularyJsonText(*learned), MergesText(*learned)};
  learnt.vocabulary.tokens = std::move(learned->tokens);
  learnt.vocabulary.words = words.total();
  learnt.vocabulary.different_words = static_cast<int64_t>(words.counts().size());
  learnt.vocabulary.characters = learnt.vocabulary.different_characters = 256;
  return learnt;
}

absl::StatusOr<LearnedVocabulary> LearnAndWrite(const LearnVocabularyOptions& options) {
  ASSIGN_OR_RETURN(Learnt learnt, options.tokenizer == "bpe" ? LearnBytePairFiles(options)
                                                             : LearnWordPieceFiles(options));
  const LearnedVocabulary& learned = learnt.vocabulary;
  if (static_cast<int64_t>(learned.tokens.size()) < options.learner.size) {
    LogWarning(absl::StrCat("text is too small for a vocabulary of ", options.learner.size,
                            " tokens: found ", learned.tokens.size(), " in ",
                            learned.different_words, " different words"));
  }
  RETURN_IF_ERROR(WriteFolder(options, learnt));
  return std::move(learnt.vocabulary);
}

}  // namespace

absl::StatusOr<LearnedVocabulary> LearnVocabulary(const LearnVocabularyOptions& options) {
  RETURN_IF_ERROR(CheckTokenizerKind(options.tokenizer));
  // Before what may take long.
  std::error_code error;
  const bool made = fs::create_directories(options.folder, error);
  if (error) return DeviceError("cannot make folder", options.folder, error.message());
  absl::StatusOr<LearnedVocabulary> learned = LearnAndWrite(options);
  if (!learned.ok() && made) fs::remove(options.folder, error);  // if it is empty
  return learned;
}

}  // namespace sluice
