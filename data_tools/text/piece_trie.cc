#include "data_tools/text/piece_trie.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"

namespace sluice {

// Places the children of one node after the other. Nodes lie in blocks of 256, since base ^ byte
// never leaves the block of base.
class PieceTrie::Builder {
 public:
  Builder(const std::vector<absl::string_view>& pieces, std::vector<Node>* nodes)
      : pieces_(pieces), nodes_(*nodes), order_(pieces.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::sort(order_.begin(), order_.end(),
              [&](int32_t a, int32_t b) { return pieces_[a] < pieces_[b]; });
    AddBlock();
    nodes_[kRoot].parent = kRoot;
  }

  void Build() {
    std::vector<Range> open = {{kRoot, 0, order_.size(), 0}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      PlaceChildren(range, &open);
    }
  }

  uint32_t AddBlock() {
    const size_t begin = nodes_.size();
    nodes_.resize(begin + 256);
    return static_cast<uint32_t>(begin);
  }

 private:
  // The pieces order_[begin … end) share their first `depth` bytes, which lead to `node`.
  struct Range {
    uint32_t node;
    size_t begin, end, depth;
  };

  void PlaceChildren(Range range, std::vector<Range>* open) {
    if (pieces_[order_[range.begin]].size() == range.depth) {
      CHECK_EQ(nodes_[range.node].value, kNone) << "piece " << order_[range.begin];
      nodes_[range.node].value = order_[range.begin++];
    }
    std::vector<Range> children;  // `node` holds the byte until the base is known
    for (size_t i = range.begin; i < range.end; ++i) {
      CHECK(pieces_[order_[i]].size() > range.depth) << "equal pieces: " << order_[i];
      const uint8_t byte = static_cast<uint8_t>(pieces_[order_[i]][range.depth]);
      if (children.empty() || children.back().node != byte) {
        children.push_back({byte, i, i, range.depth + 1});
      }
      children.back().end = i + 1;
    }
    if (children.empty()) return;
    const uint32_t base = FindBase(children);
    nodes_[range.node].base = base;
    for (Range& child : children) {
      child.node ^= base;
      nodes_[child.node].parent = range.node;
      open->push_back(child);
    }
  }

  uint32_t FindBase(const std::vector<Range>& children) {
    while (first_free_ < nodes_.size() && nodes_[first_free_].parent != kFree) ++first_free_;
    // Dense parts are not searched again and again: after some failures, a new block.
    int failures = 0;
    for (uint32_t slot = first_free_; slot < nodes_.size() && failures < 512; ++slot) {
      if (nodes_[slot].parent != kFree) continue;
      const uint32_t base = slot ^ children[0].node;
      const bool fits = std::all_of(children.begin(), children.end(), [&](const Range& child) {
        return nodes_[base ^ child.node].parent == kFree;
      });
      if (fits) return base;
      ++failures;
    }
    if (failures == 512) first_free_ += 64;
    return AddBlock();
  }

  const std::vector<absl::string_view>& pieces_;
  std::vector<Node>& nodes_;
  std::vector<int32_t> order_;
  size_t first_free_ = 0;
};

PieceTrie::PieceTrie(const std::vector<absl::string_view>& pieces) {
  Builder builder(pieces, &nodes_);
  if (!pieces.empty()) builder.Build();
  dead_end_ = builder.AddBlock();  // a node without children
  // The root must not look like a child of itself for the byte 0 when it has none.
  nodes_[kRoot].parent = kFree - 1;
}

uint32_t PieceTrie::Walk(absl::string_view text) const {
  uint32_t node = kRoot;
  for (const char c : text) {
    const uint32_t next = nodes_[node].base ^ static_cast<uint8_t>(c);
    if (nodes_[next].parent != node) return dead_end_;
    node = next;
  }
  return node;
}

}  // namespace sluice
