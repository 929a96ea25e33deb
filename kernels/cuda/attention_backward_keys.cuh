// Backward of attention, second kernel: dk, dv, the gate's gradient at the key site, and each row's
// part of the sink token's. One block for a tile of keys of one head; queries, their gradients and
// what the first kernel left of them (D_i) pass by.
//
// Scores are computed the other way round, keys by queries, so that p̃ᵀ and dsᵀ are where the
// products dv = p̃ᵀ dout and dk = dsᵀ q want them: in the registers of the warp that owns the keys.
// Where both sums do not fit there, dv and dk are blocks of their own.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/attention_differentiate.cuh"
#include "kernels/cuda/attention_dropout.cuh"
#include "kernels/cuda/attention_passing.cuh"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {

// Queries, the gradients of their outputs and what is known of them, for a block of kKeys keys, 16
// a warp.
template <typename T, int D, int kKeys, int kQueries>
struct PassingQueries {
  static constexpr int kThreads = kKeys * 2;
  static constexpr int kTileBytes = kQueries * TileRows<T, D>::kBytes;

  alignas(128) unsigned char queries[2][kTileBytes];
  alignas(128) unsigned char gradients[2][kTileBytes];  // of out
  alignas(16) float references[2][kQueries];            // exponents
  alignas(16) float means[2][kQueries];                 // D_i
  alignas(16) float gates[2][kQueries];
  DropoutBits<kQueries, kKeys> kept[2];

  // compute(first query, stage) for each tile.
  template <typename Compute>
  __device__ __forceinline__ void ForEach(const BackwardProblem<T>& problem, const RowMask& mask,
                                          const HeadTile& place, const Compute& compute) {
    const int key0 = place.tile * kKeys, end = (mask.length() + kQueries - 1) / kQueries;
    const bool gated = problem.GatesQueries() && !problem.per_channel;
    const auto next = [&](int tile) {
      while (tile < end &&
             mask.View(tile * kQueries, kQueries, key0, kKeys) == TileView::kNothing) {
        ++tile;
      }
      return tile;
    };
    const auto issue = [&](int tile, int stage) {
      const int i0 = tile * kQueries, b = place.b, h = ComputedAnew(place.h);
      LoadTile<T, D, kQueries, kThreads>(queries[stage],
                                         TokenRows(problem, problem.q, b, h, mask.length()), i0);
      LoadTile<T, D, kQueries, kThreads>(gradients[stage],
                                         GradientRows(problem, b, h, mask.length()), i0);
      for (int row = static_cast<int>(threadIdx.x); row < kQueries; row += kThreads) {
        const bool there = i0 + row < mask.length();
        const int64_t at = problem.RowIndex(b, h, i0 + row);
        references[stage][row] = there ? ReferenceExponent(problem.log_sum_exp[at]) : INFINITY;
        means[stage][row] = there ? problem.mean_gradient[at] : 0;
        gates[stage][row] = there && gated ? problem.gate[problem.HeadIndex(b, i0 + row, h)] : 1;
      }
      if (problem.drops) kept[stage].template Draw<kThreads>(problem, b, h, i0, key0);
    };
    ForEachTile(end, next, issue, [&](int tile, int stage) { compute(tile * kQueries, stage); });
  }
};

template <typename T, int D>
struct BackwardKeysShared {
  static constexpr int kRows = TileSizes<T, D>::kBackwardRows;  // keys
  static constexpr int kQueries = TileSizes<T, D>::kBackwardPassing;
  static constexpr int kThreads = kRows * 2;
  static constexpr int kRowBytes = TileSizes<T, D>::kRowBytes;
  static constexpr bool kSplits = kRowBytes > 256;  // dv and dk into two blocks

  alignas(128) unsigned char keys[kRows * kRowBytes];
  alignas(128) unsigned char values[kRows * kRowBytes];
  PassingQueries<T, D, kRows, kQueries> passing;
};

// The sums of a key tile's first row, in float, from first_column on: the sink token's.
template <int kColumns>
__device__ __forceinline__ void WriteSinkRow(const Sums<kColumns>& sums, float* row,
                                             int first_column, int columns) {
  if (threadIdx.x >= 4) return;
#pragma unroll
  for (int m = 0; m < kColumns / 8; ++m) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int column = first_column + 8 * m + LaneColumn() + e;
      if (column < columns) row[column] = sums.values[m][e];
    }
  }
}

// dw = p̃ᵀ dout of keys first_key … + 15, from first_column on, to dv = gate · dw, and dgate: where
// gates are of channels, and of heads where the sums have all channels.
template <typename T, int kColumns>
__device__ __forceinline__ void GateValueGradients(Sums<kColumns>& sums,
                                                   const BackwardProblem<T>& problem,
                                                   const HeadTile& place, int first_key,
                                                   int first_column, bool all_channels) {
  const int length = RowMask(problem, place.b).length();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int j = first_key + LaneRow() + 8 * r - problem.sink_tokens;
    const bool token = j >= 0 && j < length;
    const bool written = j >= 0 && j < problem.T_;
    const int64_t head = written ? problem.HeadIndex(place.b, j, place.h) : 0;
    const T* value = problem.v + (token ? problem.TokenOffset(place.b, j, place.h) : 0);
    const float gate = token && !problem.per_channel ? problem.gate[head] : 1;
    float dgate = 0;
#pragma unroll
    for (int m = 0; m < kColumns / 8; ++m) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int column = first_column + 8 * m + LaneColumn() + e;
        float& sum = sums.values[m][2 * r + e];
        const bool there = token && column < problem.D;
        const float product = there ? sum * ToFloat(value[column]) : 0;
        if (!problem.per_channel) {
          dgate += product;
          sum *= gate;
        } else if (written && column < problem.D) {
          problem.dgate[head * problem.D + column] = product;
          if (token) sum *= problem.gate[head * problem.D + column];
        }
      }
    }
    if (problem.per_channel || !all_channels) continue;
    dgate = SumOfRow(dgate);
    if (written && LaneColumn() == 0) problem.dgate[head] = dgate;
  }
}

// Long for the same reason as forward's.
template <typename T, int D>
__global__ void __launch_bounds__(BackwardKeysShared<T, D>::kThreads, kBlocksAtLeast)
    AttentionBackwardKeysKernel(const BackwardProblem<T> problem) {
  using Shared = BackwardKeysShared<T, D>;
  constexpr int kRows = Shared::kRows, kQueries = Shared::kQueries, kThreads = Shared::kThreads;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  auto& passing = shared.passing;

  const int tiles = (problem.keys() + kRows - 1) / kRows;
  const HeadTile place(tiles, problem.H);
  const int b = place.b, h = place.h, key0 = place.tile * kRows;
  const int sums_of = static_cast<int>(blockIdx.y) % 2;  // where they are split
  const bool sums_values = !Shared::kSplits || sums_of == 0;
  const bool sums_keys = !Shared::kSplits || sums_of == 1;
  const int first_column = FirstColumnOfPart<T, D>(static_cast<int>(blockIdx.y) / 2);
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const RowMask mask(problem, b);

  float gate[2];  // of keys LaneRow() and LaneRow() + 8
  const bool gates_keys = problem.GatesKeys() && !problem.per_channel;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int key = key0 + warp_row + LaneRow() + 8 * r;
    gate[r] = gates_keys ? KeyGate(problem, b, h, key, mask.keys()) : 1;
  }
  // Their gradients, where dv, of which they follow, is another block's: each lane's part of
  // Σ_i p̃ ⟨dout_i, v_j⟩.
  float dgate[2] = {0, 0};
  Sums<TileSizes<T, D>::kSumColumns> dvalues;  // or dkeys, in a block that has that alone
  Sums<Shared::kSplits ? 8 : D> dkeys;
  dvalues.Clear();
  dkeys.Clear();

  const auto compute = [&](int i0, int stage) {
    Sums<kQueries> weights, dscores;
    MultiplyByRows<T, D>(weights, shared.keys, warp_row, passing.queries[stage]);
    ScaleAndMask<true>(weights, problem.scale_of_two, mask, mask.View(i0, kQueries, key0, kRows),
                       i0, key0 + warp_row);
    if (sums_keys) {
      MultiplyByRows<T, D>(dscores, shared.values, warp_row, passing.gradients[stage]);
    } else {
      dscores.Clear();
    }
#pragma unroll
    for (int n = 0; n < kQueries / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int r = e / 2, column = 8 * n + LaneColumn() + e % 2;
        const bool keeps =
            !problem.drops || passing.kept[stage].Keeps(column, warp_row + LaneRow() + 8 * r);
        const float query_gate = passing.gates[stage][column];
        const PairWeight p =
            WeighPair(problem, weights.values[n][e], passing.references[stage][column]);
        const PairGradient pair =
            DifferentiatePair(problem, p.value, gate[r] * dscores.values[n][e], keeps);
        if constexpr (Shared::kSplits) {
          dgate[r] = fmaf(pair.weight, dscores.values[n][e], dgate[r]);
        }
        weights.values[n][e] = query_gate * pair.weight;
        dscores.values[n][e] =
            p.slope * (query_gate * pair.gradient - passing.means[stage][column]);
      }
    }
    if constexpr (Shared::kSplits) {
      if (sums_keys) weights = dscores;
      const unsigned char* rows = sums_keys ? passing.queries[stage] : passing.gradients[stage];
      AddWeightedRows<T, D>(dvalues, weights, ColumnsFrom<T>(rows, first_column));
    } else {
      AddWeightedRows<T, D>(dvalues, weights, passing.gradients[stage]);
      AddWeightedRows<T, D>(dkeys, dscores, passing.queries[stage]);
    }
  };

  LoadTile<T, D, kRows, kThreads>(shared.keys, KeyRows(problem, b, h, mask.keys()), key0);
  LoadTile<T, D, kRows, kThreads>(shared.values, ValueRows(problem, b, h, mask.keys()), key0);
  passing.ForEach(problem, mask, place, compute);

  const int64_t sink_row = (static_cast<int64_t>(b) * problem.H + h) * problem.D;
  const bool has_sink = problem.sink_tokens != 0 && key0 == 0;
  const auto store_keys = [&](auto& sums) {
    sums.ScaleRows(problem.scale, problem.scale);
    if (has_sink) WriteSinkRow(sums, problem.row_dsink_key + sink_row, first_column, problem.D);
    StoreSums(sums, shared.keys, warp_row,
              TokenTarget(problem, problem.dk, b, h, problem.sink_tokens).From(first_column), key0);
  };
  if (sums_values) {
    if (has_sink) {
      WriteSinkRow(dvalues, problem.row_dsink_value + sink_row, first_column, problem.D);
    }
    if (problem.GatesKeys()) {
      GateValueGradients(dvalues, problem, place, key0 + warp_row, first_column, !Shared::kSplits);
    }
    StoreSums(dvalues, shared.values, warp_row,
              TokenTarget(problem, problem.dv, b, h, problem.sink_tokens).From(first_column), key0);
  }
  if constexpr (Shared::kSplits) {
    if (!sums_keys) return;
    store_keys(dvalues);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int j = key0 + warp_row + LaneRow() + 8 * r - problem.sink_tokens;
      dgate[r] = SumOfRow(dgate[r]);
      const bool writes = gates_keys && first_column == 0 && LaneColumn() == 0;
      if (writes && j >= 0 && j < problem.T_) problem.dgate[problem.HeadIndex(b, j, h)] = dgate[r];
    }
  } else {
    store_keys(dkeys);
  }
}

template <typename T, int kTile>
absl::Status LaunchAttentionBackwardKeys(const BackwardProblem<T>& problem, Stream stream) {
  using Shared = BackwardKeysShared<T, kTile>;
  static_assert(sizeof(Shared) <= 101376, "what sm_86, sm_89 and sm_120 allow a block");
  const int64_t tiles = (problem.T_ + problem.sink_tokens + Shared::kRows - 1) / Shared::kRows;
  return Launch("attention backward of keys", AttentionBackwardKeysKernel<T, kTile>,
                {.grid = dim3(static_cast<unsigned>(tiles * problem.H * problem.B),
                              Shared::kSplits ? 2 * TileSizes<T, kTile>::kColumnParts : 1),
                 .block = dim3(Shared::kThreads),
                 .dynamic_shared_bytes = sizeof(Shared),
                 .stream = stream},
                problem);
}

}  // namespace sluice::cuda
