// Backward of attention, first kernel: dq, D_i = Σ_j p dp, and the gate's gradient at the query
// site. One block for a tile of queries of one head; key and value tiles pass by twice.
//
// First pass: D_i and ⟨dout_i, Σ_j p̃ v_j⟩. Neither `out` nor the probabilities were saved, so they
// are summed again, pair by pair in float; with an unclipped softmax they are one sum, D_i = gate_i
// · dgate_i. Second pass: ds = p (dp - D_i), dq = scale · Σ_j ds k_j.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/attention_differentiate.cuh"
#include "kernels/cuda/attention_dropout.cuh"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {

template <typename T, int D>
struct BackwardQueriesShared {
  static constexpr int kRows = TileSizes<T, D>::kBackwardRows;
  static constexpr int kKeys = TileSizes<T, D>::kBackwardPassing;
  static constexpr int kThreads = kRows * 2;
  static constexpr int kRowBytes = TileSizes<T, D>::kRowBytes;

  alignas(128) unsigned char queries[kRows * kRowBytes];
  alignas(128) unsigned char gradients[kRows * kRowBytes];  // of out
  alignas(128) unsigned char keys[2][kKeys * kRowBytes];
  alignas(128) unsigned char values[2][kKeys * kRowBytes];
  alignas(16) float key_gates[2][kKeys];
  DropoutBits<kRows, kKeys> kept[2];
};

// Long for the same reason as forward's.
template <typename T, int D>
__global__ void __launch_bounds__(BackwardQueriesShared<T, D>::kThreads, kBlocksAtLeast)
    AttentionBackwardQueriesKernel(const BackwardProblem<T> problem) {
  using Shared = BackwardQueriesShared<T, D>;
  constexpr int kRows = Shared::kRows, kKeys = Shared::kKeys, kThreads = Shared::kThreads;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);

  const int tiles = (problem.T_ + kRows - 1) / kRows;
  const HeadTile place(tiles, problem.H);
  const int b = place.b, h = place.h, i0 = (tiles - 1 - place.tile) * kRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const RowMask mask(problem, b);
  const bool gates_keys = problem.GatesKeys() && !problem.per_channel;
  const bool gates_queries = problem.GatesQueries() && !problem.per_channel;
  const bool gates_channels = problem.GatesQueries() && problem.per_channel;

  float reference[2], gate[2];  // of rows LaneRow() and LaneRow() + 8
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = i0 + warp_row + LaneRow() + 8 * r;
    const bool there = i < problem.T_;
    reference[r] =
        there ? ReferenceExponent(problem.log_sum_exp[problem.RowIndex(b, h, i)]) : INFINITY;
    gate[r] = there && gates_queries ? problem.gate[problem.HeadIndex(b, i, h)] : 1;
  }
  float weighted[2] = {0, 0};  // each lane's part of Σ_j p̃ ∂loss / ∂p̃, but for the query's gate
  float mean[2] = {0, 0};  // of Σ_j p dp, likewise; after the first pass D_i
  bool first_pass = true;
  Sums<D> sums;  // first Σ_j p̃ v_j, where it is needed, then dq
  sums.Clear();

  const int end = (mask.keys() + kKeys - 1) / kKeys;
  const auto next = [&](int tile) {
    while (tile < end && mask.View(i0, kRows, tile * kKeys, kKeys) == TileView::kNothing) ++tile;
    return tile;
  };
  const auto issue = [&](int tile, int stage) {
    const int head = ComputedAnew(h);
    LoadTile<T, D, kKeys, kThreads>(shared.keys[stage], KeyRows(problem, b, head, mask.keys()),
                                    tile * kKeys);
    LoadTile<T, D, kKeys, kThreads>(shared.values[stage], ValueRows(problem, b, head, mask.keys()),
                                    tile * kKeys);
    if (gates_keys) {
      LoadKeyGates<kKeys, kThreads>(shared.key_gates[stage], problem, b, head, tile * kKeys,
                                    mask.keys());
    }
    if (problem.drops) {
      shared.kept[stage].template Draw<kThreads>(problem, b, head, i0, tile * kKeys);
    }
  };
  const auto compute = [&](int tile, int stage) {
    const int key0 = tile * kKeys;
    Sums<kKeys> p, dweights;
    MultiplyByRows<T, D>(p, shared.queries, warp_row, shared.keys[stage]);
    ScaleAndMask<false>(p, problem.scale_of_two, mask, mask.View(i0, kRows, key0, kKeys),
                        i0 + warp_row, key0);
    MultiplyByRows<T, D>(dweights, shared.gradients, warp_row, shared.values[stage]);
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, column = 8 * n + LaneColumn() + e % 2;
        float& weight = p.values[n][e];
        float& dweight = dweights.values[n][e];
        if (gates_keys) dweight *= shared.key_gates[stage][column];
        const bool keeps =
            !problem.drops || shared.kept[stage].Keeps(warp_row + LaneRow() + 8 * r, column);
        const float probability = ExponentialOfTwo(weight - reference[r]);
        const PairGradient pair = DifferentiatePair(problem, probability, dweight, keeps);
        if (first_pass) {
          weighted[r] = fmaf(pair.weight, dweight, weighted[r]);
          mean[r] = fmaf(probability, pair.gradient, mean[r]);
          weight = pair.weight;
        } else {
          dweight = probability * (gate[r] * pair.gradient - mean[r]);
        }
      }
    }
    if (!first_pass) {
      AddWeightedRows<T, D>(sums, dweights, shared.keys[stage]);
    } else if (gates_channels) {
      AddWeightedRows<T, D>(sums, p, shared.values[stage]);
    }
  };

  LoadTile<T, D, kRows, kThreads>(shared.queries,
                                  TokenRows(problem, problem.q, b, h, mask.length()), i0);
  LoadTile<T, D, kRows, kThreads>(shared.gradients, GradientRows(problem, b, h, mask.length()), i0);
  ForEachTile(end, next, issue, compute);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = i0 + warp_row + LaneRow() + 8 * r;
    weighted[r] = SumOfRow(weighted[r]);
    mean[r] = SumOfRow(mean[r]) * gate[r];
    if (i >= problem.T_ || LaneColumn() != 0) continue;
    problem.mean_gradient[problem.RowIndex(b, h, i)] = mean[r];
    if (gates_queries) problem.dgate[problem.HeadIndex(b, i, h)] = weighted[r];
  }
  if (gates_channels) {
#pragma unroll
    for (int m = 0; m < D / 8; ++m) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = i0 + warp_row + LaneRow() + e / 2 * 8, column = 8 * m + LaneColumn() + e % 2;
        if (i >= problem.T_ || column >= problem.D) continue;
        const int64_t at = problem.HeadIndex(b, i, h) * problem.D + column;
        problem.dgate[at] = i < mask.length() ? ToFloat(problem.dout[at]) * sums.values[m][e] : 0;
      }
    }
    sums.Clear();
  }
  first_pass = false;
  ForEachTile(end, next, issue, compute);
  sums.ScaleRows(problem.scale, problem.scale);
  StoreSums(sums, shared.queries, warp_row, TokenTarget(problem, problem.dq, b, h, 0), i0);
}

template <typename T, int kTile>
absl::Status LaunchAttentionBackwardQueries(const BackwardProblem<T>& problem, Stream stream) {
  using Shared = BackwardQueriesShared<T, kTile>;
  static_assert(sizeof(Shared) <= 101376, "what sm_86, sm_89 and sm_120 allow a block");
  const int64_t tiles = (problem.T_ + Shared::kRows - 1) / Shared::kRows;
  return Launch("attention backward of queries", AttentionBackwardQueriesKernel<T, kTile>,
                {.grid = dim3(static_cast<unsigned>(tiles * problem.H * problem.B)),
                 .block = dim3(Shared::kThreads),
                 .dynamic_shared_bytes = sizeof(Shared),
                 .stream = stream},
                problem);
}

}  // namespace sluice::cuda
