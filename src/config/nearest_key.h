// What a person may have meant by a key that does not exist.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// The existing key or section nearest to the dotted `path`: the same last part in another section
// ("hidden_size" gives model.hidden_size), another system's name for it ("lr" gives
// optimizer.learning_rate), or the smallest edit distance. Empty when nothing is near.
std::string NearestKey(absl::string_view path);

// Number of insertions, deletions, substitutions and swaps of neighbours from `a` to `b`.
int EditDistance(absl::string_view a, absl::string_view b);

}  // namespace sluice
