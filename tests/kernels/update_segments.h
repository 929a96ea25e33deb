// Parts of a flat buffer that updates touch, for tests of update rules.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/api/parameter_update.h"

namespace sluice::testing {

// Segments with gaps between and around them; one is empty.
inline std::vector<UpdateSegment> SegmentsOf(int64_t n) {
  if (n < 20) return {{0, n, 0.1f}};
  return {{3, n / 5, 0.1f},
          {n / 5, n / 5, 0.5f},
          {n / 5, n / 5 + 1, 0.0f},
          {n / 5 + 3, n / 2, 0.0f},
          {n / 2 + 1, n - 2, 0.01f}};
}

inline bool IsInSegments(const std::vector<UpdateSegment>& segments, int64_t i) {
  return std::any_of(segments.begin(), segments.end(),
                     [&](const UpdateSegment& s) { return s.begin <= i && i < s.end; });
}

}  // namespace sluice::testing
