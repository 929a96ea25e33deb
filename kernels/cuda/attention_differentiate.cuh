// What both kernels of attention's backward do with a pair of a query and a key.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace sluice::cuda {

struct PairGradient {
  float weight;    // p̃
  float gradient;  // dp, of ∂loss / ∂p̃
};

template <typename T>
__device__ __forceinline__ PairGradient DifferentiatePair(const AttentionProblem<T>& problem,
                                                          float p, float dweight, bool keeps) {
  const float factor = keeps ? problem.kept_scale : 0;
  if (!problem.clipped) return {p * factor, dweight * factor};
  const float unclipped = fmaf(problem.stretch, p, problem.gamma);
  const bool passes = unclipped >= 0 && unclipped <= 1;
  return {__saturatef(unclipped) * factor, passes ? problem.stretch * (dweight * factor) : 0};
}

// Of a saved log-sum-exp, what exponents of two are relative to: p = 2^(score - this). Queries that
// see nothing have p = 0.
__device__ __forceinline__ float ReferenceExponent(float log_sum_exp) {
  return log_sum_exp == -INFINITY ? INFINITY : log_sum_exp * kLog2E;
}

// A pair's weight before clipping, and its derivative by the score.
struct PairWeight {
  float value, slope;
};
template <typename T>
__device__ __forceinline__ PairWeight WeighPair(const AttentionProblem<T>& problem, float score,
                                                float reference) {
  if (!problem.rectified) {
    const float p = ExponentialOfTwo(score - reference);
    return {p, p};
  }
  const float share = ExponentialOfTwo(-reference);  // 1 / n; 0 for queries that see nothing
  return {fmaxf(score, 0) * share, score > 0 ? share : 0};
}

// Rows of dout, times the query's gate where it is one a channel.
template <typename T>
__device__ __forceinline__ RowSource<T> GradientRows(const BackwardProblem<T>& problem, int b,
                                                     int h, int limit) {
  const int64_t width = static_cast<int64_t>(problem.H) * problem.D;
  const bool gated = problem.GatesQueries() && problem.per_channel;
  return {.rows = problem.dout + problem.HeadIndex(b, 0, h) * problem.D,
          .stride = width,
          .extra_row = nullptr,
          .extra = 0,
          .limit = limit,
          .columns = problem.D,
          .vector = problem.vector_dout,
          .gates = gated ? ChannelGates(problem, b, h) : nullptr,
          .gate_stride = width};
}

// Rows of dq, dk or dv; extra: rows before the tokens', which are not written.
template <typename T>
__device__ __forceinline__ RowTarget<T> TokenTarget(const BackwardProblem<T>& problem, T* rows,
                                                    int b, int h, int extra) {
  return {.rows = rows + problem.TokenOffset(b, 0, h) - extra * problem.qkv_stride,
          .stride = problem.qkv_stride,
          .begin = extra,
          .limit = problem.T_ + extra,
          .columns = problem.D,
          .vector = problem.vector_gradients};
}

}  // namespace sluice::cuda
