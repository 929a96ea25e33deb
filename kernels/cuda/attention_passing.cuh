// What passes a block by while its own tiles stay, in two stages of shared memory: while a tile is
// computed in one, the next that the mask does not leave out is on its way to the other. Keys with
// their values, for forward and backward of queries; what passes in backward of keys is there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention_dropout.cuh"
#include "kernels/cuda/attention_problem.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace sluice::cuda {

// Runs compute(tile, stage) for tiles next(0), next(that + 1), … below `end`, while
// issue(following tile, other stage) brings the next one in; next(t) is the first tile from t on
// that is not skipped. Nobody may read the stages when it begins; it ends with a barrier.
template <typename Next, typename Issue, typename Compute>
__device__ __forceinline__ void ForEachTile(int end, const Next& next, const Issue& issue,
                                            const Compute& compute) {
  int tile = next(0);
  if (tile < end) issue(tile, 0);
  CommitCopies();
#pragma unroll 1
  for (int stage = 0; tile < end; stage ^= 1) {
    const int following = next(tile + 1);
    WaitForCopies();
    __syncthreads();  // this stage is there, and everyone is done with the other
    if (following < end) issue(following, stage ^ 1);
    CommitCopies();
    compute(tile, stage);
    tile = following;
  }
  WaitForCopies();
  __syncthreads();
}

// Keys and values, for a block of kQueries queries, 16 a warp.
template <typename T, int D, int kQueries, int kKeys>
struct PassingKeys {
  static constexpr int kThreads = kQueries * 2;
  static constexpr int kTileBytes = kKeys * TileRows<T, D>::kBytes;

  alignas(128) unsigned char keys[2][kTileBytes];
  alignas(128) unsigned char values[2][kTileBytes];
  alignas(16) float gates[2][kKeys];  // where keys have one a head
  DropoutBits<kQueries, kKeys> kept[2];

  // compute(first key, stage) for each tile; only_keys: keys[stage] is all that it looks at.
  template <typename Compute>
  __device__ __forceinline__ void ForEach(const AttentionProblem<T>& problem, const RowMask& mask,
                                          const HeadTile& place, bool only_keys,
                                          const Compute& compute) {
    const int i0 = place.tile * kQueries, end = (mask.keys() + kKeys - 1) / kKeys;
    const auto next = [&](int tile) {
      while (tile < end && mask.View(i0, kQueries, tile * kKeys, kKeys) == TileView::kNothing) {
        ++tile;
      }
      return tile;
    };
    const auto issue = [&](int tile, int stage) {
      const int h = ComputedAnew(place.h), b = ComputedAnew(place.b), key0 = tile * kKeys;
      LoadTile<T, D, kKeys, kThreads>(keys[stage], KeyRows(problem, b, h, mask.keys()), key0);
      if (only_keys) return;
      LoadTile<T, D, kKeys, kThreads>(values[stage], ValueRows(problem, b, h, mask.keys()), key0);
      if (problem.GatesKeys() && !problem.per_channel) {
        LoadKeyGates<kKeys, kThreads>(gates[stage], problem, b, h, key0, mask.keys());
      }
      if (problem.drops) kept[stage].template Draw<kThreads>(problem, b, h, i0, key0);
    };
    ForEachTile(end, next, issue, [&](int tile, int stage) { compute(tile * kKeys, stage); });
  }
};

}  // namespace sluice::cuda
