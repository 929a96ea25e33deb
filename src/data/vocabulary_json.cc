#include "data/vocabulary_json.h"

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

// Reads bytes and counts the lines, which the parser's callbacks do not say.
class CountingIterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  CountingIterator(const char* at, int64_t* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_++ == '\n') ++*line_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int64_t* line_;
};

// The parser's callbacks; each returns whether to go on.
class Handler {
 public:
  using Json = nlohmann::json;

  Handler(const std::string& name, const int64_t* line) : name_(name), line_(line) {}

  // No parameter is named but what is used: the parser calls all of these.
  bool null() { return NotANumber("null"); }
  bool boolean(bool) { return NotANumber("a truth value"); }
  bool number_integer(Json::number_integer_t value) {
    return Fail("vocabulary has an id below 0", absl::StrCat(value));
  }
  bool number_float(Json::number_float_t, const std::string& text) { return NotANumber(text); }
  bool string(std::string& text) { return NotANumber(absl::StrCat("\"", text, "\"")); }
  bool binary(Json::binary_t&) { return NotANumber("bytes"); }
  bool start_array(std::size_t) { return NotANumber("a list"); }
  bool end_array() { return true; }
  bool start_object(std::size_t) {
    if (depth_++ == 0) return true;
    return NotANumber("an object");
  }
  bool end_object() { return true; }
  bool key(std::string& token) {
    token_ = std::move(token);
    token_line_ = *line_;
    return true;
  }
  bool number_unsigned(Json::number_unsigned_t id);
  bool parse_error(std::size_t, const std::string&, const Json::exception& error);

  absl::StatusOr<std::vector<std::string>> Finish();

 private:
  bool Fail(const char* what, const std::string& values) {
    if (status_.ok()) {
      status_ =
          DataError(what, absl::StrCat(name_, ":", depth_ > 0 ? token_line_ : *line_), values);
    }
    return false;
  }
  bool NotANumber(const std::string& what) {
    if (depth_ == 0) return Fail("vocabulary is not an object of tokens and ids", what);
    return Fail("token's id is not a whole number", absl::StrCat("\"", token_, "\": ", what));
  }

  static constexpr uint64_t kLargestId = INT32_MAX;

  const std::string& name_;
  const int64_t* line_;
  int depth_ = 0;
  std::string token_;
  int64_t token_line_ = 1;
  absl::flat_hash_map<std::string, uint64_t> id_of_;
  absl::flat_hash_map<uint64_t, std::string> token_of_;
  absl::Status status_;
};

bool Handler::number_unsigned(Json::number_unsigned_t id) {
  if (depth_ == 0) return NotANumber("a number");
  if (id > kLargestId) return Fail("vocabulary has an id that is too large", absl::StrCat(id));
  const auto [token, is_new_token] = id_of_.emplace(token_, id);
  if (!is_new_token) {
    return Fail("token is there twice",
                absl::StrCat("\"", token_, "\": ", token->second, " and ", id));
  }
  const auto [other, is_new_id] = token_of_.emplace(id, token_);
  if (!is_new_id) {
    return Fail("two tokens have one id",
                absl::StrCat(id, ": \"", other->second, "\" and \"", token_, "\""));
  }
  return true;
}

bool Handler::parse_error(std::size_t, const std::string&, const Json::exception& error) {
  // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error …"
  const std::vector<std::string> parts = absl::StrSplit(error.what(), absl::MaxSplits(": ", 1));
  if (status_.ok()) {
    status_ = DataError("vocabulary is not JSON", absl::StrCat(name_, ":", *line_), parts.back());
  }
  return false;
}

absl::StatusOr<std::vector<std::string>> Handler::Finish() {
  if (!status_.ok()) return status_;
  std::vector<std::string> tokens(token_of_.size());
  for (auto& [id, token] : token_of_) {
    if (id < tokens.size()) tokens[id] = std::move(token);
  }
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (token_of_.contains(id)) continue;
    return DataError("vocabulary has no token with an id below the largest", name_,
                     absl::StrCat("id ", id, ", tokens ", tokens.size()));
  }
  if (tokens.empty()) return DataError("vocabulary is empty", name_);
  return tokens;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseVocabularyJson(absl::string_view bytes,
                                                             const std::string& name) {
  if (bytes.empty()) return DataError("vocabulary is empty", name);
  int64_t line = 1;
  Handler handler(name, &line);
  const char* const begin = bytes.data();
  // What fails is in the handler's status.
  (void)nlohmann::json::sax_parse(CountingIterator(begin, &line),
                                  CountingIterator(begin + bytes.size(), &line), &handler);
  return handler.Finish();
}

bool IsMergesVersionLine(absl::string_view line) {
  return line == kMergesVersionLine ||
         absl::StartsWith(line, absl::StrCat(kMergesVersionLine, " "));
}

}  // namespace sluice
