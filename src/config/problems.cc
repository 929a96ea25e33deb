#include "config/problems.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/utf8.h"

namespace sluice {

void Problems::Add(absl::string_view what, absl::string_view where, absl::string_view values) {
  messages_.emplace_back(UsageError(what, where, values).message());
}

absl::Status Problems::ToStatus(absl::string_view where) const {
  constexpr size_t kMostShown = 20;
  if (messages_.empty()) return absl::OkStatus();
  if (messages_.size() == 1) return UsageError(messages_[0]);
  std::string list;
  for (size_t i = 0; i < std::min(messages_.size(), kMostShown); ++i) {
    absl::StrAppend(&list, "\n  ", i + 1, ". ", messages_[i]);
  }
  if (messages_.size() > kMostShown) {
    absl::StrAppend(&list, "\n  and ", messages_.size() - kMostShown, " more");
  }
  return UsageError(absl::StrCat(messages_.size(), " problems: ", where, list));
}

std::string Printable(absl::string_view text) {
  constexpr size_t kLongest = 60;
  std::string shown;
  for (size_t i = 0; i < text.size();) {
    if (shown.size() >= kLongest) return shown + "…";
    const size_t length = Utf8SequenceLength(text.substr(i));
    if (length > 1) {
      absl::StrAppend(&shown, text.substr(i, length));
    } else if (length == 1) {
      absl::StrAppend(&shown, absl::CHexEscape(text.substr(i, 1)));
    } else {
      absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(text[i]));
    }
    i += std::max<size_t>(length, 1);
  }
  return shown;
}

std::string Quote(absl::string_view text) { return absl::StrCat("'", Printable(text), "'"); }

}  // namespace sluice
