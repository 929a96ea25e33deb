// The walk over the flat buffer that update rules share: a block takes a stretch and goes through
// the segments that lie in it, in vectors where memory is aligned.
#pragma once

#include <cstdint>

#include "core/integer_math.h"
#include "kernels/api/parameter_update.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {

inline constexpr int kUpdateThreads = 256;
inline constexpr int kUpdateWidth = 4;  // floats a thread takes at once
inline constexpr int64_t kUpdateBlockValues = 4096;

inline LaunchShape UpdateGrid(int64_t elements, Stream stream) {
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(elements, kUpdateBlockValues))),
          .block = dim3(kUpdateThreads),
          .stream = stream};
}

struct StretchStep {
  float gradient_scale, weight_decay;
};

struct SegmentWalk {
  const UpdateSegment* segments;
  int64_t segment_count;
  float gradient_scale;
  bool aligned;  // whether vectors may be loaded and stored at multiples of their width
};

// The first segment that ends behind `begin`; segment_count if none.
__device__ __forceinline__ int64_t FirstSegment(const SegmentWalk& walk, int64_t begin) {
  int64_t low = 0, high = walk.segment_count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (walk.segments[middle].end <= begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// update(Width<w>, step, i) for the values i … i + w - 1, of all segments of this block's stretch.
template <typename Update>
__device__ __forceinline__ void UpdateStretch(const SegmentWalk& walk,
                                              const UpdateDeviceArgs& device,
                                              const Update& update) {
  if (device.skip != nullptr && *device.skip != 0) return;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kUpdateBlockValues;
  const int64_t end =
      begin + kUpdateBlockValues < device.elements ? begin + kUpdateBlockValues : device.elements;
  StretchStep step = {walk.gradient_scale, 0};
  if (device.gradient_factor != nullptr) step.gradient_scale *= *device.gradient_factor;
  for (int64_t s = FirstSegment(walk, begin); s < walk.segment_count; ++s) {
    const UpdateSegment segment = walk.segments[s];
    if (segment.begin >= end) break;
    step.weight_decay = segment.weight_decay;
    const int64_t first = segment.begin > begin ? segment.begin : begin;
    const int64_t last = segment.end < end ? segment.end : end;
    // Vectors begin at multiples of their width, which the block's stretch does too.
    const int64_t vectors_begin =
        walk.aligned ? (first + kUpdateWidth - 1) / kUpdateWidth * kUpdateWidth : last;
    const int64_t vectors_end = walk.aligned ? last / kUpdateWidth * kUpdateWidth : last;
    for (int64_t i = vectors_begin + threadIdx.x * kUpdateWidth; i < vectors_end;
         i += kUpdateThreads * kUpdateWidth) {
      update(Width<kUpdateWidth>(), step, i);
    }
    const int64_t head_end = vectors_begin < last ? vectors_begin : last;
    for (int64_t i = first + threadIdx.x; i < head_end; i += kUpdateThreads) {
      update(Width<1>(), step, i);
    }
    const int64_t tail_begin = vectors_end > head_end ? vectors_end : head_end;
    for (int64_t i = tail_begin + threadIdx.x; i < last; i += kUpdateThreads) {
      update(Width<1>(), step, i);
    }
  }
}

}  // namespace sluice::cuda
