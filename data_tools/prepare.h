// Text files → token shards: reads documents, tokenizes rows on all threads, writes them in order.
// The result depends on the text and the options only, never on the number of threads.
//
//   ASSIGN_OR_RETURN(const PrepareSummary summary,
//                    Prepare({.vocabulary = "vocab.txt", .folder = "data/wiki",
//                             .texts = {"wiki.txt.xz"}}));
//   std::cout << SummaryText(summary);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/manifest.h"

namespace sluice {

struct PrepareOptions {
  std::string tokenizer = "wordpiece";
  std::string vocabulary;                    // tokenizer.h: a folder, or a vocab.txt
  std::optional<bool> cased = std::nullopt;  // unset: as the vocabulary says (tokenizer.h)
  // What becomes one row, such as [CLS] … [SEP] (Tokenizer::row_prefix):
  //   document   a document, its paragraphs joined by a space; with bpe, by a line feed
  //   paragraph  a line; blank lines separate documents
  //   line       a line, which is also a document of its own
  std::string row = "document";
  std::string folder;              // gets the shards, the vocabulary and, last, manifest.yaml
  std::vector<std::string> texts;  // plain, .xz or .gz; "-" is standard input
  int threads = 0;                 // 0: all cores
  int64_t shard_tokens = int64_t{32} << 20;
  bool overwrite = false;
  // Called with a line for people, not more often than every progress_seconds. May be empty.
  std::function<void(absl::string_view line)> progress = nullptr;
  double progress_seconds = 1;
};

struct PrepareSummary {
  Manifest manifest;
  std::string added_tokens;       // of each row, for people: "[CLS] and [SEP]"
  int64_t text_bytes = 0;         // unpacked
  int64_t unknown_tokens = 0;     // [UNK]
  int64_t invalid_sequences = 0;  // of ill-formed UTF-8 in the text
  double seconds = 0;
};

// UsageError for unknown names and for folders that cannot be used, DataError for texts and
// vocabularies, DeviceError when the disk declines.
absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options);

// A few lines for people.
std::string SummaryText(const PrepareSummary& summary);

}  // namespace sluice
