// Backward of attention, first kernel: dq, D_i = Σ_j p dp, and the gate's gradient at the query
// site. One block for a tile of queries of one head; key and value tiles pass by.
//
// D_i is needed before the first pair: ⟨dout_i, out_i⟩, of what forward left. A clipped softmax has
// no such formula, and a gate a channel has a gradient of its own, dout_i · Σ_j p̃ v_j: there keys
// pass by twice, first for these sums alone. Then ds = p (dp - D_i), dq = scale · Σ_j ds k_j, and
// the gate's gradient for a head, Σ_j p̃ ⟨dout_i, v_j⟩, whose terms are there.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/attention_differentiate.cuh"
#include "kernels/cuda/attention_dropout.cuh"
#include "kernels/cuda/attention_passing.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector_memory.cuh"

namespace sluice::cuda {

template <typename T, int D>
struct BackwardQueriesShared {
  static constexpr int kRows = TileSizes<T, D>::kBackwardRows;
  static constexpr int kKeys = TileSizes<T, D>::kBackwardPassing;
  static constexpr int kThreads = kRows * 2;
  static constexpr int kTileBytes = kRows * TileSizes<T, D>::kRowBytes;

  alignas(128) unsigned char queries[kTileBytes];
  alignas(128) unsigned char gradients[kTileBytes];  // of out
  PassingKeys<T, D, kRows, kKeys> passing;
};

// ⟨dout_i, out_i⟩ of row `at` of (B, T, H): the four lanes that share sums' rows take its chunks in
// turn. `there`, and at, are theirs together.
template <typename T>
__device__ __forceinline__ float MeanGradient(const BackwardProblem<T>& problem, int64_t at,
                                              bool there) {
  constexpr int kElements = kVectorWidth<T>;
  const T* dout = problem.dout + at * problem.D;
  const T* out = problem.out + at * problem.D;
  float sum = 0;
#pragma unroll 1
  for (int column = LaneColumn() / 2 * kElements; there && column < problem.D;
       column += 4 * kElements) {
    float left[kElements] = {}, right[kElements] = {};
    if (problem.vector_dout) {
      LoadFloats(dout + column, left);
      LoadFloats(out + column, right);
    } else {
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        if (column + e >= problem.D) continue;
        left[e] = ToFloat(dout[column + e]);
        right[e] = ToFloat(out[column + e]);
      }
    }
#pragma unroll
    for (int e = 0; e < kElements; ++e) sum = fmaf(left[e], right[e], sum);
  }
  return SumOfRow(sum);
}

// Gradients of the gates of channels of queries first_row … + 15, from first_column on; sums:
// Σ_j p̃ v_j.
template <typename T, int kColumns>
__device__ __forceinline__ void StoreChannelGateGradients(const Sums<kColumns>& sums,
                                                          const BackwardProblem<T>& problem,
                                                          const HeadTile& place, int first_row,
                                                          int first_column, int length) {
#pragma unroll
  for (int m = 0; m < kColumns / 8; ++m) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = first_row + LaneRow() + e / 2 * 8;
      const int column = first_column + 8 * m + LaneColumn() + e % 2;
      if (i >= problem.T_ || column >= problem.D) continue;
      const int64_t at = problem.HeadIndex(place.b, i, place.h) * problem.D + column;
      problem.dgate[at] = i < length ? ToFloat(problem.dout[at]) * sums.values[m][e] : 0;
    }
  }
}

// Long for the same reason as forward's.
template <typename T, int D>
__global__ void __launch_bounds__(BackwardQueriesShared<T, D>::kThreads, kBlocksAtLeast)
    AttentionBackwardQueriesKernel(const BackwardProblem<T> problem) {
  using Shared = BackwardQueriesShared<T, D>;
  constexpr int kRows = Shared::kRows, kKeys = Shared::kKeys, kThreads = Shared::kThreads;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  auto& passing = shared.passing;

  const int tiles = (problem.T_ + kRows - 1) / kRows;
  HeadTile place(tiles, problem.H);
  place.tile = tiles - 1 - place.tile;
  const int b = place.b, h = place.h, i0 = place.tile * kRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int first_column = FirstColumnOfPart<T, D>(static_cast<int>(blockIdx.y));
  const RowMask mask(problem, b);
  const bool gates_keys = problem.GatesKeys() && !problem.per_channel;
  const bool gates_queries = problem.GatesQueries() && !problem.per_channel;
  const bool gates_channels = problem.GatesQueries() && problem.per_channel;

  LoadTile<T, D, kRows, kThreads>(shared.queries,
                                  TokenRows(problem, problem.q, b, h, mask.length()), i0);
  LoadTile<T, D, kRows, kThreads>(shared.gradients, GradientRows(problem, b, h, mask.length()), i0);
  float reference[2], gate[2], mean[2];  // of rows LaneRow() and LaneRow() + 8; mean: D_i
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = i0 + warp_row + LaneRow() + 8 * r;
    const bool there = i < problem.T_;
    reference[r] =
        there ? ReferenceExponent(problem.log_sum_exp[problem.RowIndex(b, h, i)]) : INFINITY;
    gate[r] = there && gates_queries ? problem.gate[problem.HeadIndex(b, i, h)] : 1;
    mean[r] = MeanGradient(problem, problem.HeadIndex(b, i, h),
                           i < mask.length() && !problem.clipped && !problem.rectified);
  }
  Sums<TileSizes<T, D>::kSumColumns> sums;  // first Σ_j p̃ v_j, where it is needed, then dq
  sums.Clear();

  // p of a tile, and ⟨dout, v⟩ times the key's gate; then body(p, ⟨dout, v⟩, row, keeps, slope) for
  // each pair, and what it leaves there.
  const auto for_each_pair = [&](Sums<kKeys>& p, Sums<kKeys>& dweights, int key0, int stage,
                                 const auto& body) {
    MultiplyByRows<T, D>(p, shared.queries, warp_row, passing.keys[stage]);
    ScaleAndMask<false>(p, problem.scale_of_two, mask, mask.View(i0, kRows, key0, kKeys),
                        i0 + warp_row, key0);
    MultiplyByRows<T, D>(dweights, shared.gradients, warp_row, passing.values[stage]);
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, column = 8 * n + LaneColumn() + e % 2;
        float& dweight = dweights.values[n][e];
        if (gates_keys) dweight *= passing.gates[stage][column];
        const bool keeps =
            !problem.drops || passing.kept[stage].Keeps(warp_row + LaneRow() + 8 * r, column);
        const PairWeight pair = WeighPair(problem, p.values[n][e], reference[r]);
        p.values[n][e] = pair.value;
        body(p.values[n][e], dweight, r, keeps, pair.slope);
      }
    }
  };

  if (problem.clipped || gates_channels) {
    float sum[2] = {0, 0};  // each lane's part of Σ_j p dp
    passing.ForEach(problem, mask, place, false, [&](int key0, int stage) {
      Sums<kKeys> p, dweights;
      for_each_pair(p, dweights, key0, stage,
                    [&](float& weight, float dweight, int r, bool keeps, float) {
                      const PairGradient pair = DifferentiatePair(problem, weight, dweight, keeps);
                      sum[r] = fmaf(weight, pair.gradient, sum[r]);
                      weight = pair.weight;
                    });
      if (gates_channels) {
        AddWeightedRows<T, D>(sums, p, ColumnsFrom<T>(passing.values[stage], first_column));
      }
    });
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] = SumOfRow(sum[r]) * gate[r];
      if (problem.clipped) mean[r] = sum[r];
    }
    if (gates_channels) {
      StoreChannelGateGradients(sums, problem, place, i0 + warp_row, first_column, mask.length());
      sums.Clear();
    }
  }

  float dgate[2] = {0, 0};  // each lane's part of Σ_j p̃ ⟨dout_i, v_j⟩
  passing.ForEach(problem, mask, place, false, [&](int key0, int stage) {
    Sums<kKeys> p, dweights;
    for_each_pair(p, dweights, key0, stage,
                  [&](float probability, float& dweight, int r, bool keeps, float slope) {
                    const PairGradient pair =
                        DifferentiatePair(problem, probability, dweight, keeps);
                    dgate[r] = fmaf(pair.weight, dweight, dgate[r]);
                    dweight = slope * (gate[r] * pair.gradient - mean[r]);
                  });
    AddWeightedRows<T, D>(sums, dweights, ColumnsFrom<T>(passing.keys[stage], first_column));
  });
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = i0 + warp_row + LaneRow() + 8 * r;
    dgate[r] = SumOfRow(dgate[r]);
    if (i >= problem.T_ || LaneColumn() != 0 || first_column != 0) continue;
    problem.mean_gradient[problem.RowIndex(b, h, i)] = mean[r];
    if (gates_queries) problem.dgate[problem.HeadIndex(b, i, h)] = dgate[r];
  }
  sums.ScaleRows(problem.scale, problem.scale);
  StoreSums(sums, shared.queries, warp_row,
            TokenTarget(problem, problem.dq, b, h, 0).From(first_column), i0);
}

template <typename T, int kTile>
absl::Status LaunchAttentionBackwardQueries(const BackwardProblem<T>& problem, Stream stream) {
  using Shared = BackwardQueriesShared<T, kTile>;
  static_assert(sizeof(Shared) <= 101376, "what sm_86, sm_89 and sm_120 allow a block");
  const int64_t tiles = (problem.T_ + Shared::kRows - 1) / Shared::kRows;
  return Launch("attention backward of queries", AttentionBackwardQueriesKernel<T, kTile>,
                {.grid = dim3(static_cast<unsigned>(tiles * problem.H * problem.B),
                              TileSizes<T, kTile>::kColumnParts),
                 .block = dim3(Shared::kThreads),
                 .dynamic_shared_bytes = sizeof(Shared),
                 .stream = stream},
                problem);
}

}  // namespace sluice::cuda
