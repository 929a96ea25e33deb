// Text files as lines or documents, streamed: one paragraph a line, blank lines between documents;
// a document ends with its file. Lines end with LF or CR LF; the last one may end with the file. A
// byte-order mark at a file's start is dropped. Ill-formed UTF-8 becomes U+FFFD and is counted.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<TextReader> reader, TextReader::Open({"wiki.txt.xz", "-"}));
//   std::vector<std::string> paragraphs;
//   while (true) {
//     ASSIGN_OR_RETURN(const bool more, reader->NextDocument(&paragraphs));
//     if (!more) break;
//     …
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data_tools/text/byte_source.h"

namespace sluice {

struct TextStatistics {
  int64_t files = 0;  // opened so far
  int64_t bytes = 0;  // of text, unpacked
  int64_t lines = 0;  // blank ones too
  int64_t documents = 0;
  int64_t paragraphs = 0;
  int64_t invalid_sequences = 0;  // of ill-formed UTF-8
};

class TextReader {
 public:
  static constexpr int64_t kLongestLineBytes = int64_t{1} << 30;
  static constexpr int64_t kLongestDocumentBytes = int64_t{1} << 30;

  // Plain, xz or gzip files; "-" is standard input. DataError when one is missing or a folder (all
  // are looked at now, but opened one at a time). An empty file is no error: it has no documents.
  static absl::StatusOr<std::unique_ptr<TextReader>> Open(std::vector<std::string> paths);

  // The next document's paragraphs (not blank, without line ends), replacing what is there. False
  // after the last. DataError for a failed read, a damaged archive, UTF-16, a line longer than
  // kLongestLineBytes, and a document longer than kLongestDocumentBytes: text without blank lines.
  absl::StatusOr<bool> NextDocument(std::vector<std::string>* paragraphs);

  // The next line, blank or not, whichever file it is in. False after the last.
  absl::StatusOr<bool> NextLine(std::string* line);

  // For tests, which have no such documents.
  void set_longest_document_bytes(int64_t bytes) { longest_document_bytes_ = bytes; }

  // Of what was read so far; documents and paragraphs are counted by NextDocument only.
  const TextStatistics& statistics() const { return statistics_; }

 private:
  enum class Event { kLine, kEndOfFile, kEnd };

  explicit TextReader(std::vector<std::string> paths);
  absl::StatusOr<Event> Next(std::string* line);
  // The raw line up to LF or the file's end; false when nothing is left.
  absl::StatusOr<bool> ReadRawLine(std::string* line);
  // Takes the marks off the raw line; repairs it.
  absl::Status Clean(std::string* line);
  std::string Where() const;

  std::vector<std::string> paths_;
  size_t next_path_ = 0;
  std::unique_ptr<ByteSource> source_;  // null between files
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;  // the part of buffer_ that is still to be read
  int64_t line_in_file_ = 0;
  int64_t longest_document_bytes_ = kLongestDocumentBytes;
  TextStatistics statistics_;
};

}  // namespace sluice
