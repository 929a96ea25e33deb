// The walk over segments that update rules share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/parallel.h"
#include "kernels/api/parameter_update.h"

namespace sluice {

inline constexpr int64_t kUpdatesPerGrain = 4096;

// update(begin, end) for stretches that cover all segments, by all threads.
template <typename Update>
void ForEachStretch(const UpdateSegment* segments, int64_t count, const Update& update) {
  if (count == 0) return;
  const int64_t first = segments[0].begin;
  ParallelFor(segments[count - 1].end - first, kUpdatesPerGrain,
              [&](int64_t begin, int64_t end) { update(first + begin, first + end); });
}

// update(weight_decay, begin, end) for the parts of the segments that lie in [begin, end).
template <typename Update>
inline void ForEachSegment(const UpdateSegment* segments, int64_t count, int64_t begin, int64_t end,
                           const Update& update) {
  const UpdateSegment* last = segments + count;
  const UpdateSegment* segment =
      std::partition_point(segments, last, [&](const UpdateSegment& s) { return s.end <= begin; });
  for (; segment != last && segment->begin < end; ++segment) {
    update(segment->weight_decay, std::max(begin, segment->begin), std::min(end, segment->end));
  }
}

}  // namespace sluice
