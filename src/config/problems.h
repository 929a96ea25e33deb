// Collects what is wrong with a configuration, so that a person repairs it in one go.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

class Problems {
 public:
  // What is wrong, where ("configs/x.yaml:14" or "override 2"), and the values.
  void Add(absl::string_view what, absl::string_view where, absl::string_view values);

  bool empty() const { return messages_.empty(); }

  // Ok when there are none; else a UsageError: the problem itself when there is one, or a numbered
  // list of the first 20 under "<n> problems: `where`".
  absl::Status ToStatus(absl::string_view where) const;

 private:
  std::vector<std::string> messages_;
};

// `text` on one line, control characters escaped, cut after 60 bytes; Quote puts it between single
// quotes.
std::string Printable(absl::string_view text);
std::string Quote(absl::string_view text);

}  // namespace sluice
