// A double-array trie over byte strings: longest-prefix look-up with one load a byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace sluice {

// Immutable, so it may be shared by threads.
class PieceTrie {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr uint32_t kRoot = 0;

  // Piece i, none of them empty and no two equal, gets the value i.
  explicit PieceTrie(const std::vector<absl::string_view>& pieces);

  struct Match {
    int32_t value = kNone;
    size_t bytes = 0;
  };
  // The longest piece (its part after the string that led to `start`) that is a prefix of `text`.
  Match LongestPrefix(uint32_t start, absl::string_view text) const {
    Match match;
    uint32_t node = start;
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t next = nodes_[node].base ^ static_cast<uint8_t>(text[i]);
      if (nodes_[next].parent != node) break;
      node = next;
      if (nodes_[node].value != kNone) match = {nodes_[node].value, i + 1};
    }
    return match;
  }

  // The node that `text` leads to, a start for LongestPrefix. When no piece begins with `text`: a
  // node from which nothing matches.
  uint32_t Walk(absl::string_view text) const;

 private:
  struct Node {
    uint32_t base = 0;  // the child for byte b is base ^ b, if that one's parent is this
    uint32_t parent = kFree;
    int32_t value = kNone;
  };
  static constexpr uint32_t kFree = 0xFFFFFFFF;
  class Builder;

  std::vector<Node> nodes_;
  uint32_t dead_end_ = 0;
};

}  // namespace sluice
