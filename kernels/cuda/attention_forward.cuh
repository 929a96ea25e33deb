// Forward of attention (kernels/api/attention.h), one block for a tile of queries of one head.
//
// A warp has 16 queries: their scores, the running maximum and sum of each row's exponentials, and
// the weighted values lie in its registers; key and value tiles pass by in two stages of shared
// memory. The maximum is carried from tile to tile and what was summed before is scaled when it
// rises (online softmax), so keys are read once. A clipped softmax has to know the whole row before
// it can clip: there keys are read twice, first for log-sum-exp alone.
//
// What is uniform (masks, gate, sink, clipping, dropout) is a branch of the whole block, not an
// instantiation.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/attention_dropout.cuh"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_passing.cuh"
#include "kernels/cuda/attention_problem.cuh"
#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/launch.cuh"

namespace sluice::cuda {

template <typename T, int D>
struct ForwardShared {
  static constexpr int kRows = TileSizes<T, D>::kForwardRows;
  static constexpr int kKeys = TileSizes<T, D>::kForwardPassing;
  static constexpr int kThreads = kRows * 2;

  alignas(128) unsigned char queries[kRows * TileSizes<T, D>::kRowBytes];
  PassingKeys<T, D, kRows, kKeys> passing;
};

// Running maximum (an exponent of two) and sum of two rows' exponentials; sums are each lane's own
// part until the end.
struct OnlineSoftmax {
  float maximum[2], sum[2];

  __device__ __forceinline__ void Begin(float sink_exponent) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      maximum[r] = sink_exponent;
      sum[r] = sink_exponent != -INFINITY && LaneColumn() == 0 ? 1 : 0;
    }
  }
  // Scores to exponentials relative to the new maximum; correction: what sums so far are to be
  // multiplied by.
  template <int kColumns>
  __device__ __forceinline__ void Take(Sums<kColumns>& scores, float (&correction)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = maximum[r];
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores.values[n][2 * r], scores.values[n][2 * r + 1]));
      }
      largest = MaximumOfRow(largest);
      const float shift = largest == -INFINITY ? 0 : largest;  // a row that has seen nothing
      correction[r] = ExponentialOfTwo(maximum[r] - shift);
      maximum[r] = largest;
      float added = 0;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
        for (int e = 2 * r; e < 2 * r + 2; ++e) {
          scores.values[n][e] = ExponentialOfTwo(scores.values[n][e] - shift);
          added += scores.values[n][e];
        }
      }
      sum[r] = sum[r] * correction[r] + added;
    }
  }
  // Without a softmax: scores to max(score, 0), and `sum` counts the keys that are seen.
  template <int kColumns>
  __device__ __forceinline__ void TakeRectified(Sums<kColumns>& scores) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& score = scores.values[n][e];
        sum[e / 2] += score == -INFINITY ? 0 : 1;
        score = fmaxf(score, 0);
      }
    }
  }
  // Sums of whole rows, in every lane.
  __device__ __forceinline__ void Finish() {
#pragma unroll
    for (int r = 0; r < 2; ++r) sum[r] = SumOfRow(sum[r]);
  }
};

// Scores to 2^(score - reference of their row).
template <int kColumns>
__device__ __forceinline__ void Exponentiate(Sums<kColumns>& scores, const float (&reference)[2]) {
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      scores.values[n][e] = ExponentialOfTwo(scores.values[n][e] - reference[e / 2]);
    }
  }
}

// p̃ of probabilities, or of their exponentials.
template <typename T, int kQueries, int kKeys>
__device__ __forceinline__ void WeighKeys(Sums<kKeys>& weights, const AttentionProblem<T>& problem,
                                          const DropoutBits<kQueries, kKeys>& kept, int warp_row) {
  if (problem.clipped) {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        weights.values[n][e] =
            __saturatef(fmaf(problem.stretch, weights.values[n][e], problem.gamma));
      }
    }
  }
  if (problem.drops) {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const bool keeps =
            kept.Keeps(warp_row + LaneRow() + e / 2 * 8, 8 * n + LaneColumn() + e % 2);
        weights.values[n][e] = keeps ? weights.values[n][e] * problem.kept_scale : 0;
      }
    }
  }
}

template <int kKeys>
__device__ __forceinline__ void GateKeys(Sums<kKeys>& weights, const float (&gates)[kKeys]) {
#pragma unroll
  for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) weights.values[n][e] *= gates[8 * n + LaneColumn() + e % 2];
  }
}

// Values of queries first_row … + 15, from first_column on, times the queries' gates, one a
// channel.
template <typename T, int kColumns>
__device__ __forceinline__ void GateChannels(Sums<kColumns>& out,
                                             const AttentionProblem<T>& problem,
                                             const HeadTile& place, int first_row,
                                             int first_column) {
  const float* gates = ChannelGates(problem, place.b, place.h);
  const int64_t stride = static_cast<int64_t>(problem.H) * problem.D;
#pragma unroll
  for (int m = 0; m < kColumns / 8; ++m) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = first_row + LaneRow() + e / 2 * 8;
      const int column = first_column + 8 * m + LaneColumn() + e % 2;
      if (i < problem.T_ && column < problem.D) out.values[m][e] *= gates[i * stride + column];
    }
  }
}

template <typename T>
__device__ __forceinline__ float SinkExponent(const AttentionProblem<T>& problem, int h) {
  if (problem.sink == SoftmaxSink::kNone) return -INFINITY;
  return problem.sink == SoftmaxSink::kZero ? 0 : ToFloat(problem.sink_logit[h]) * kLog2E;
}

// Long because its parts share a warp's registers: the lambdas are what a tile goes through.
template <typename T, int D>
__global__ void __launch_bounds__(ForwardShared<T, D>::kThreads, kBlocksAtLeast)
    AttentionForwardKernel(const ForwardProblem<T> problem) {
  using Shared = ForwardShared<T, D>;
  constexpr int kRows = Shared::kRows, kKeys = Shared::kKeys, kThreads = Shared::kThreads;
  extern __shared__ __align__(128) unsigned char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);

  const int tiles = (problem.T_ + kRows - 1) / kRows;
  HeadTile place(tiles, problem.H);
  place.tile = tiles - 1 - place.tile;  // the longest rows of a causal mask first
  const int b = place.b, h = place.h, i0 = place.tile * kRows;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int first_column = FirstColumnOfPart<T, D>(static_cast<int>(blockIdx.y));
  const RowMask mask(problem, b);
  const bool gates_keys = problem.GatesKeys() && !problem.per_channel;

  OnlineSoftmax softmax;
  Sums<TileSizes<T, D>::kSumColumns> out;
  softmax.Begin(SinkExponent(problem, h));
  if (problem.rectified) softmax.maximum[0] = softmax.maximum[1] = 0;
  out.Clear();
  bool statistics_only = problem.clipped;  // the first of two passes

  const auto compute = [&](int key0, int stage) {
    Sums<kKeys> weights;
    MultiplyByRows<T, D>(weights, shared.queries, warp_row, shared.passing.keys[stage]);
    ScaleAndMask<false>(weights, problem.scale_of_two, mask, mask.View(i0, kRows, key0, kKeys),
                        i0 + warp_row, key0);
    if (problem.rectified) {
      softmax.TakeRectified(weights);
    } else if (!problem.clipped || statistics_only) {
      float correction[2];
      softmax.Take(weights, correction);
      if (statistics_only) return;
      out.ScaleRows(correction[0], correction[1]);
    } else {
      Exponentiate(weights, softmax.maximum);
    }
    WeighKeys(weights, problem, shared.passing.kept[stage], warp_row);
    if (gates_keys) GateKeys(weights, shared.passing.gates[stage]);
    AddWeightedRows<T, D>(out, weights, ColumnsFrom<T>(shared.passing.values[stage], first_column));
  };

  LoadTile<T, D, kRows, kThreads>(shared.queries,
                                  TokenRows(problem, problem.q, b, h, mask.length()), i0);
  float log_of_sum[2];  // exponents of two
  for (;;) {
    shared.passing.ForEach(problem, mask, place, statistics_only, compute);
    if (problem.clipped && !statistics_only) break;
    softmax.Finish();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool sees = i0 + warp_row + LaneRow() + 8 * r < mask.length();
      if (!sees) softmax.sum[r] = 0, softmax.maximum[r] = -INFINITY;
      log_of_sum[r] = sees ? softmax.maximum[r] + log2f(softmax.sum[r]) : -INFINITY;
      // Of what the second pass takes its exponentials relative to.
      if (statistics_only) softmax.maximum[r] = sees ? log_of_sum[r] : 0;
    }
    if (!statistics_only) break;
    statistics_only = false;
  }

  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = i0 + warp_row + LaneRow() + 8 * r;
    factor[r] = problem.clipped ? 1 : softmax.sum[r] > 0 ? 1 / softmax.sum[r] : 0;
    if (i >= problem.T_) continue;
    if (problem.GatesQueries() && !problem.per_channel) {
      factor[r] *= problem.gate[problem.HeadIndex(b, i, h)];
    }
    if (problem.log_sum_exp != nullptr && LaneColumn() == 0 && first_column == 0) {
      problem.log_sum_exp[problem.RowIndex(b, h, i)] = log_of_sum[r] * kLn2;
    }
  }
  out.ScaleRows(factor[0], factor[1]);
  if (problem.GatesQueries() && problem.per_channel) {
    GateChannels(out, problem, place, i0 + warp_row, first_column);
  }
  StoreSums(out, shared.queries, warp_row,
            RowTarget<T>{.rows = problem.out + problem.HeadIndex(b, 0, h) * problem.D,
                         .stride = static_cast<int64_t>(problem.H) * problem.D,
                         .begin = 0,
                         .limit = problem.T_,
                         .columns = problem.D,
                         .vector = problem.vector_out}
                .From(first_column),
            i0);
}

// Launches the kernel whose tile holds D columns: kTile.
template <typename T, int kTile>
absl::Status LaunchAttentionForward(const ForwardProblem<T>& problem, Stream stream) {
  using Shared = ForwardShared<T, kTile>;
  static_assert(sizeof(Shared) <= 101376, "what sm_86, sm_89 and sm_120 allow a block");
  const int64_t tiles = (problem.T_ + Shared::kRows - 1) / Shared::kRows;
  return Launch("attention forward", AttentionForwardKernel<T, kTile>,
                {.grid = dim3(static_cast<unsigned>(tiles * problem.H * problem.B),
                              TileSizes<T, kTile>::kColumnParts),
                 .block = dim3(Shared::kThreads),
                 .dynamic_shared_bytes = sizeof(Shared),
                 .stream = stream},
                problem);
}

}  // namespace sluice::cuda
