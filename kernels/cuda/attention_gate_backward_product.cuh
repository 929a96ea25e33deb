// Backward of the gates' logits on tensor cores, for bf16 and fp16 whose rows are whole vectors:
//   dsource (tokens × columns) += dlogit  (tokens × heads) · weight (heads × columns)
//   dweight (heads × columns)  += dlogitᵀ (heads × tokens) · source (tokens × columns)
// Gradients of logits are float: each is a sum of three bf16, every one of them what those before
// it leave, which keeps the 24 bits and the exponents of float. Of the other factor bf16 is taken
// as it is, and fp16 (11 bits) is a sum of two. So nothing is rounded before it is multiplied;
// products of terms that are below 2^-26 of the whole are left out. The later terms of an infinite
// gradient are NaN, and so is the result.
#pragma once

#include <type_traits>

#include "core/integer_math.h"
#include "kernels/api/attention_gate.h"
#include "kernels/cuda/attention_gate_slope.cuh"
#include "kernels/cuda/row_tile.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace sluice::cuda {

constexpr int kGateWarps = 4;     // of a block
constexpr int kGateRows = 16;     // of an mma, and its depth: tokens and heads, or heads and tokens
constexpr int kGateColumns = 64;  // of a warp at a time: eight chunks
constexpr int kGateBlocks = 4;    // of a multiprocessor, at least: up to 128 registers
constexpr int64_t kMostParts = 128;  // blocks of tokens

// How tokens are dealt out, and where things are in the workspace.
struct GateBackwardPlan {
  GateBackwardPlan(void* memory, int64_t N, int64_t C, int64_t H)
      : tokens(RoundUp(CeilDiv(N, kMostParts), kGateRows)),
        parts(N == 0 ? 0 : CeilDiv(N, tokens)),
        stride(RoundUp(H * C, 16)) {
    auto* floats = static_cast<float*>(memory);
    dlogits = floats;
    dweight = dlogits + RoundUp(N * H, 16);
    dbias = dweight + parts * stride;
    // Not `parts`: fewer tokens may be dealt out in more parts.
    const int64_t most_parts = std::min(kMostParts, CeilDiv(N, int64_t{kGateRows}));
    total_bytes = static_cast<int64_t>(sizeof(float)) *
                  (RoundUp(N * H, 16) + most_parts * stride + most_parts * H);
  }
  int64_t tokens;  // of a part
  int64_t parts;
  int64_t stride;  // of a part's dweight: the size of the largest weight, rounded up to 16
  float* dlogits;  // (N, H)
  float* dweight;  // (parts, stride)
  float* dbias;    // (parts, H)
  int64_t total_bytes;
};

template <typename T>
__device__ __forceinline__ float LogitGradient(const AttentionGateBackwardArgs<T>& args, int64_t n,
                                               int64_t h) {
  const float gate = args.gate[n * args.H + h];
  return args.dgate[n * args.H + h] * GateSlope(gate, args.curve);
}

constexpr int kLogitTerms = 3;
template <typename T>
constexpr int kStoredTerms = std::is_same_v<T, bf16> ? 1 : 2;

// Two values as sums of bf16, of each term the pair.
template <int kTerms>
__device__ __forceinline__ void SplitPair(float first, float second, uint32_t (&terms)[kTerms]) {
#pragma unroll
  for (int t = 0; t < kTerms; ++t) {
    terms[t] = PackPair<bf16>(first, second);
    first -= __uint_as_float(terms[t] << 16);
    second -= __uint_as_float(terms[t] & 0xffff0000u);
  }
}

// Rows and columns of right sides are numbered at will. Column g of the j-th of eight mma's is
// column j of chunk RightChunk(), so that a lane reads chunks of 16 bytes and has in its sums whole
// chunks, q and q + 4 (of row g in sums[j][0] and [1], of row g + 8 in [2] and [3]): neighbouring
// lanes have neighbouring ones both ways. The four rows that a lane reads are RightRow(0 … 3), the
// columns of its left sides.
__device__ __forceinline__ int RightChunk() {
  const int g = LaneIndex() / 4;
  return g / 2 + g % 2 * 4;
}
__device__ __forceinline__ int RightRow(int r) { return LaneIndex() % 4 + 4 * r; }
__device__ __forceinline__ int SumsColumn(int e) { return (LaneIndex() % 4 + 4 * e) * 8; }

// dlogits as left sides (16 × 16, by rows) of mma's.
struct LogitFragment {
  uint32_t terms[kLogitTerms][4];
};

// Of value(row, column).
template <typename Value>
__device__ __forceinline__ LogitFragment SplitFragment(const Value& value) {
  LogitFragment fragment;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int row = LaneIndex() / 4 + r % 2 * 8, pair = r / 2 * 2;
    uint32_t terms[kLogitTerms];
    SplitPair(value(row, RightRow(pair)), value(row, RightRow(pair + 1)), terms);
#pragma unroll
    for (int t = 0; t < kLogitTerms; ++t) fragment.terms[t][r] = terms[t];
  }
  return fragment;
}

template <typename T>
__device__ __forceinline__ void LoadChunk(const T* from, bool there, uint32_t (&chunk)[4]) {
  const uint4 vector = there ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
  chunk[0] = vector.x;
  chunk[1] = vector.y;
  chunk[2] = vector.z;
  chunk[3] = vector.w;
}

// sums (16 × 64) += left · rows, a lane's chunks of its four rows.
template <typename T>
__device__ __forceinline__ void AddProducts(const LogitFragment& left, const uint32_t (&rows)[4][4],
                                            float (&sums)[8][4]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    uint32_t right[2][kStoredTerms<T>];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t pair = __byte_perm(rows[2 * half][j / 2], rows[2 * half + 1][j / 2],
                                        j % 2 == 0 ? 0x5410 : 0x7632);
      if constexpr (kStoredTerms<T> == 1) {
        right[half][0] = pair;
      } else {
        const float2 values = __half22float2(reinterpret_cast<const __half2&>(pair));
        SplitPair(values.x, values.y, right[half]);
      }
    }
#pragma unroll
    for (int t = 0; t < kLogitTerms; ++t) {
#pragma unroll
      for (int s = 0; s < kStoredTerms<T> && t + s < kLogitTerms; ++s) {
        MultiplyAccumulate<bf16>(sums[j], left.terms[t], right[0][s], right[1][s]);
      }
    }
  }
}

// dlogits of 16 tokens and heads from n and first_head on, which also go to workspace where that is
// not null.
template <typename T>
__device__ __forceinline__ LogitFragment LogitsOfTokens(const AttentionGateBackwardArgs<T>& args,
                                                        int64_t n, int64_t first_head,
                                                        float* dlogits) {
  return SplitFragment([&](int row, int column) {
    const int64_t token = n + row, head = first_head + column;
    if (token >= args.N || head >= args.H) return 0.0f;
    const float dlogit = LogitGradient(args, token, head);
    if (dlogits != nullptr) dlogits[token * args.H + head] = dlogit;
    return dlogit;
  });
}

// dsource[n] += Σ_h dlogit[n, h] · weight[h] of 16 tokens a warp; their dlogits go to workspace.
template <typename T>
__global__ void __launch_bounds__(kGateWarps* kWarpSize, kGateBlocks)
    GateBackwardSourceProductKernel(AttentionGateBackwardArgs<T> args, float* dlogits) {
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * kGateWarps + WarpIndex()) * kGateRows;
  if (n >= args.N) return;
  LogitFragment left;
  for (int64_t first = 0; first < args.C; first += kGateColumns) {
    float sums[8][4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {  // a chunk of a row
      const int64_t token = n + LaneIndex() / 4 + k / 2 * 8, column = first + SumsColumn(k % 2);
      float chunk[8] = {};
      if (token < args.N && column < args.C) {
        LoadFloats(args.dsource + token * args.dsource_stride + column, chunk);
      }
#pragma unroll
      for (int j = 0; j < 8; ++j) sums[j][k] = chunk[j];
    }
    for (int64_t first_head = 0; first_head < args.H; first_head += kGateRows) {
      if (first == 0 || args.H > kGateRows) {
        left = LogitsOfTokens(args, n, first_head, first == 0 ? dlogits : nullptr);
      }
      const int64_t column = first + RightChunk() * 8;
      uint32_t rows[4][4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {  // the last head where there is none: its dlogits are 0
        const int64_t head = min(first_head + RightRow(r), args.H - 1);
        LoadChunk(args.weight + head * args.C + column, column < args.C, rows[r]);
      }
      AddProducts<T>(left, rows, sums);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int64_t token = n + LaneIndex() / 4 + k / 2 * 8, column = first + SumsColumn(k % 2);
      if (token >= args.N || column >= args.C) continue;
      float chunk[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) chunk[j] = sums[j][k];
      StoreFloats(chunk, args.dsource + token * args.dsource_stride + column);
    }
  }
}

// A warp's sums to floats, rows `stride` apart, as far as there are rows and columns. Neighbouring
// lanes change halves of their chunks, so that each store of theirs is one chunk, 32 bytes.
__device__ __forceinline__ void StoreSums(const float (&sums)[8][4], int64_t rows, int64_t columns,
                                          int64_t stride, float* to) {
  const bool odd = LaneIndex() % 2 != 0;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    float of_even[4], of_odd[4];  // this lane's half of the two lanes' chunks
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float lower = sums[j][k], upper = sums[4 + j][k];
      const float received = __shfl_xor_sync(kWholeWarp, odd ? lower : upper, 1);
      of_even[j] = odd ? received : lower;
      of_odd[j] = odd ? upper : received;
    }
    const int row = LaneIndex() / 4 + k / 2 * 8;
    const int even = SumsColumn(k % 2) - (odd ? 8 : 0), half = odd ? 4 : 0;
    if (row >= rows) continue;
    if (even < columns) StoreFloats(of_even, to + row * stride + even + half);
    if (even + 8 < columns) StoreFloats(of_odd, to + row * stride + even + 8 + half);
  }
}

// Partial sums of dweight[h] += Σ_n dlogit[n, h] · source[n] over a part of the tokens, in order,
// for 16 heads and 64 columns a warp. Grid (parts, column tiles, groups of heads).
template <typename T>
__global__ void __launch_bounds__(kGateWarps* kWarpSize, kGateBlocks)
    GateBackwardWeightProductKernel(AttentionGateBackwardArgs<T> args, GateBackwardPlan plan) {
  const int64_t first =
      (static_cast<int64_t>(blockIdx.y) * kGateWarps + WarpIndex()) * kGateColumns;
  if (first >= args.C) return;
  const int64_t first_head = static_cast<int64_t>(blockIdx.z) * kGateRows;
  const int64_t begin = blockIdx.x * plan.tokens, end = min(begin + plan.tokens, args.N);
  const int64_t column = first + RightChunk() * 8;
  float sums[8][4] = {};
#pragma unroll 2
  for (int64_t n = begin; n < end; n += kGateRows) {
    uint32_t rows[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {  // the last token where there is none: its dlogits are 0
      const int64_t token = min(n + RightRow(r), end - 1);
      LoadChunk(args.source + token * args.source_stride + column, column < args.C, rows[r]);
    }
    const LogitFragment left = SplitFragment([&](int row, int k) {
      const int64_t head = first_head + row, token = n + k;
      return head < args.H && token < end ? plan.dlogits[token * args.H + head] : 0.0f;
    });
    AddProducts<T>(left, rows, sums);
  }
  StoreSums(sums, args.H - first_head, args.C - first, args.C,
            plan.dweight + blockIdx.x * plan.stride + first_head * args.C + first);
}

}  // namespace sluice::cuda
