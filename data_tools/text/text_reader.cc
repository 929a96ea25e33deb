#include "data_tools/text/text_reader.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"
#include "data_tools/text/utf8.h"

namespace sluice {
namespace {

constexpr size_t kBufferBytes = 1 << 18;

bool IsBlank(absl::string_view line) { return absl::StripAsciiWhitespace(line).empty(); }

}  // namespace

TextReader::TextReader(std::vector<std::string> paths)
    : paths_(std::move(paths)), buffer_(kBufferBytes) {}

absl::StatusOr<std::unique_ptr<TextReader>> TextReader::Open(std::vector<std::string> paths) {
  namespace fs = std::filesystem;
  if (paths.empty()) return UsageError("no text files given");
  int standard_inputs = 0;
  for (const std::string& path : paths) {
    if (path == "-") {
      if (++standard_inputs > 1) return UsageError("standard input (\"-\") is given twice");
      continue;
    }
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) return DataError("cannot open text", path, error.message());
    if (fs::is_directory(status)) return DataError("text is a folder, not a file", path);
  }
  return std::unique_ptr<TextReader>(new TextReader(std::move(paths)));
}

std::string TextReader::Where() const {
  const std::string& path = paths_[next_path_ - 1];
  return absl::StrCat(path == "-" ? "standard input" : path, ":", line_in_file_);
}

absl::StatusOr<bool> TextReader::ReadRawLine(std::string* line) {
  line->clear();
  bool anything = false;
  while (true) {
    if (begin_ == end_) {
      ASSIGN_OR_RETURN(const size_t bytes, source_->Read(buffer_.data(), buffer_.size()));
      if (bytes == 0) return anything;
      begin_ = 0;
      end_ = bytes;
      statistics_.bytes += static_cast<int64_t>(bytes);
    }
    anything = true;
    const char* start = buffer_.data() + begin_;
    const auto* newline = static_cast<const char*>(std::memchr(start, '\n', end_ - begin_));
    const size_t bytes = newline == nullptr ? end_ - begin_ : newline - start;
    if (line->size() + bytes > static_cast<size_t>(kLongestLineBytes)) {
      return DataError(
          "line is too long", paths_[next_path_ - 1],
          absl::StrCat("line ", line_in_file_ + 1, ", over ", kLongestLineBytes, " bytes"));
    }
    line->append(start, bytes);
    begin_ += bytes;
    if (newline != nullptr) {
      ++begin_;
      return true;
    }
  }
}

absl::Status TextReader::Clean(std::string* line) {
  if (line_in_file_ == 1) {
    if (absl::StartsWith(*line, "\xFF\xFE") || absl::StartsWith(*line, "\xFE\xFF")) {
      return DataError("text is UTF-16, not UTF-8", Where());
    }
    if (absl::StartsWith(*line, "\xEF\xBB\xBF")) line->erase(0, 3);
  }
  if (!line->empty() && line->back() == '\r') line->pop_back();
  statistics_.invalid_sequences += ReplaceInvalidUtf8(line);
  return absl::OkStatus();
}

absl::StatusOr<TextReader::Event> TextReader::Next(std::string* line) {
  if (source_ == nullptr) {
    if (next_path_ == paths_.size()) return Event::kEnd;
    ASSIGN_OR_RETURN(source_, OpenByteSource(paths_[next_path_]));
    ++next_path_;
    ++statistics_.files;
    line_in_file_ = 0;
    begin_ = end_ = 0;
  }
  ASSIGN_OR_RETURN(const bool more, ReadRawLine(line));
  if (!more) {
    source_ = nullptr;
    return Event::kEndOfFile;
  }
  ++line_in_file_;
  ++statistics_.lines;
  RETURN_IF_ERROR(Clean(line));
  return Event::kLine;
}

absl::StatusOr<bool> TextReader::NextLine(std::string* line) {
  while (true) {
    ASSIGN_OR_RETURN(const Event event, Next(line));
    if (event != Event::kEndOfFile) return event == Event::kLine;
  }
}

absl::StatusOr<bool> TextReader::NextDocument(std::vector<std::string>* paragraphs) {
  paragraphs->clear();
  std::string line;
  int64_t bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(const Event event, Next(&line));
    if (event == Event::kLine && !IsBlank(line)) {
      bytes += static_cast<int64_t>(line.size());
      if (bytes > longest_document_bytes_) {
        return DataError(
            "a document is too long", Where(),
            absl::StrCat("more than ", longest_document_bytes_,
                         " bytes without a blank line; where every line is a row of its "
                         "own, say --row line"));
      }
      paragraphs->push_back(std::exchange(line, {}));
      ++statistics_.paragraphs;
      continue;
    }
    if (!paragraphs->empty()) {
      ++statistics_.documents;
      return true;
    }
    if (event == Event::kEnd) return false;
  }
}

}  // namespace sluice
