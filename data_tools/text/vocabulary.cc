#include "data_tools/text/vocabulary.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"
#include "data/content_hash.h"
#include "data_tools/text/utf8.h"

namespace sluice {
namespace {

absl::Status CheckToken(absl::string_view token, absl::string_view where) {
  if (token.empty()) return DataError("vocabulary has an empty line", where);
  if (token.back() == '\r') {
    return DataError("vocabulary line ends with a carriage return (CR LF): store it with LF only",
                     where);
  }
  if (CountInvalidUtf8(token) > 0) return DataError("vocabulary line is not UTF-8", where);
  if (absl::ascii_isspace(token.front()) || absl::ascii_isspace(token.back())) {
    return DataError("token begins or ends with white space", where,
                     absl::StrCat("\"", token, "\""));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Load(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    return DataError("vocabulary is a folder, not a file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return DataError("cannot open vocabulary", path, std::strerror(errno));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (file.bad()) return DataError("cannot read vocabulary", path, std::strerror(errno));
  return FromBytes(bytes.str(), path);
}

absl::StatusOr<Vocabulary> Vocabulary::FromBytes(std::string bytes, const std::string& name) {
  Vocabulary vocabulary;
  vocabulary.sha256_ = Sha256Text(bytes);
  vocabulary.bytes_ = std::make_unique<const std::string>(std::move(bytes));
  absl::string_view rest = *vocabulary.bytes_;
  if (rest.empty()) return DataError("vocabulary is empty", name);
  while (!rest.empty()) {
    const absl::string_view token = rest.substr(0, rest.find('\n'));
    const int32_t id = vocabulary.size();
    const std::string where = absl::StrCat(name, ":", id + 1);
    RETURN_IF_ERROR(CheckToken(token, where));
    const auto [first, is_new] = vocabulary.ids_.emplace(token, id);
    if (!is_new) {
      return DataError("token is there twice", where,
                       absl::StrCat("\"", token, "\", first in line ", first->second + 1));
    }
    vocabulary.tokens_.push_back(token);
    rest.remove_prefix(std::min(token.size() + 1, rest.size()));
  }
  return vocabulary;
}

int32_t Vocabulary::Find(absl::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

bool Vocabulary::HasUpperCase() const {
  for (const absl::string_view token : tokens_) {
    if (token.front() == '[') continue;
    for (const char c : token) {
      if (absl::ascii_isupper(c)) return true;
    }
  }
  return false;
}

}  // namespace sluice
