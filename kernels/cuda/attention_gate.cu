// Gate logits are a product with few columns (a head each), which should cost no more than reading
// the source once. bf16 and fp16 do it on tensor cores, 16 tokens and 16 heads a warp. For float,
// slices, and rows that are no whole vectors, a warp takes two tokens and up to 16 heads at once
// and adds up its 32 sums over the lanes together.
#include "kernels/api/attention_gate.h"

#include "core/check.h"
#include "core/integer_math.h"
#include "kernels/cuda/attention_gate_slope.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace sluice::cuda {
namespace {

// scale · σ(steepness · logit); the power may overflow to infinity, which gives 0.
__device__ __forceinline__ float Gate(float logit, const GateCurve<float>& curve) {
  return curve.scale / (1 + expf(-curve.steepness * logit));
}

constexpr int kWarps = 4;               // of a block
constexpr int kBlocksPerProcessor = 4;  // at least: up to 128 registers, and nothing is spilled
constexpr int kTokens = 2;              // of a warp
constexpr int kHeads = 16;              // at a time
static_assert(kTokens * kHeads == kWarpSize, "one sum a lane in the end");

// sum[token · kHeads + head] += this lane's products, all features of every head.
template <typename T, int kWidth>
__device__ __forceinline__ void AddProducts(const AttentionGateForwardArgs<T>& args,
                                            const T* const (&source)[kTokens], int64_t first_head,
                                            float (&sum)[kWarpSize]) {
  const auto heads = static_cast<int>(min(args.H - first_head, int64_t{kHeads}));
  for (int64_t column = 0; column < args.C; column += kTileColumns) {
    float x[kTokens][kTileValues];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) LoadTile<kWidth>(source[t], column, args.C, x[t]);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      if (h >= heads) break;
      float weight[kTileValues];
      LoadTile<kWidth>(args.weight + (first_head + h) * args.C, column, args.C, weight);
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
#pragma unroll
        for (int i = 0; i < kTileValues; ++i) sum[t * kHeads + h] += x[t][i] * weight[i];
      }
    }
  }
}

// The same where each head has its slice of the source: lanes go along the slice.
template <typename T>
__device__ __forceinline__ void AddProductsOfSlices(const AttentionGateForwardArgs<T>& args,
                                                    const T* const (&source)[kTokens],
                                                    int64_t first_head, float (&sum)[kWarpSize]) {
  const int64_t D = args.C / args.H;
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    if (first_head + h >= args.H) break;
    const int64_t end = (first_head + h + 1) * D;
    for (int64_t column = end - D + LaneIndex(); column < end; column += kWarpSize) {
      const float weight = ToFloat(args.weight[column]);
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        sum[t * kHeads + h] += ToFloat(source[t][column]) * weight;
      }
    }
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize, kBlocksPerProcessor)
    GateForwardKernel(AttentionGateForwardArgs<T> args) {
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex()) * kTokens;
  if (n >= args.N) return;
  const T* source[kTokens];  // the last token twice, where their number is odd
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    source[t] = args.source + min(n + t, args.N - 1) * args.source_stride;
  }
  for (int64_t first_head = 0; first_head < args.H; first_head += kHeads) {
    float sum[kWarpSize] = {};
    if (args.per_head_slice) {
      AddProductsOfSlices(args, source, first_head, sum);
    } else {
      AddProducts<T, kWidth>(args, source, first_head, sum);
    }
    float logit = WarpSumOfEach(sum);
    const int64_t token = n + LaneIndex() / kHeads, head = first_head + LaneIndex() % kHeads;
    if (token < args.N && head < args.H) {
      if (args.bias != nullptr) logit += ToFloat(args.bias[head]);
      args.gate[token * args.H + head] = Gate(logit, args.curve);
    }
  }
}

constexpr int kProductTokens = 16;   // of a warp on tensor cores: the rows of an mma
constexpr int kProductColumns = 32;  // of a step there: each of the four lanes of a row has 8

template <typename T>
__device__ __forceinline__ uint4 LoadVector(const T* from) {
  return *reinterpret_cast<const uint4*>(from);
}

// sums[t] += source · weightᵀ for heads 8 t … 8 t + 7, over the columns of one step. A sum does not
// mind in which order source and weight both have their columns: so a lane's eight neighbours, one
// access of 16 bytes, are what it gives to two mma's.
template <typename T>
__device__ __forceinline__ void MultiplyStep(const T* const (&source)[2],
                                             const T* const (&weight)[2], int64_t column,
                                             float (&sums)[2][4]) {
  const uint4 upper = LoadVector(source[0] + column), lower = LoadVector(source[1] + column);
  const uint32_t first[4] = {upper.x, lower.x, upper.y, lower.y};
  const uint32_t second[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
  for (int t = 0; t < 2; ++t) {
    const uint4 heads = LoadVector(weight[t] + column);
    MultiplyAccumulate<T>(sums[t], first, heads.x, heads.y);
    MultiplyAccumulate<T>(sums[t], second, heads.z, heads.w);
  }
}

// Rows of whole steps, all features of every head.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    GateProductKernel(AttentionGateForwardArgs<T> args) {
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex()) * kProductTokens;
  if (n >= args.N) return;
  const int row = LaneIndex() / 4, first_column = LaneIndex() % 4 * 8;
  const T* source[2];  // of tokens n + row and n + row + 8; the last token where there is none
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    source[r] = args.source + min(n + row + 8 * r, args.N - 1) * args.source_stride + first_column;
  }
  for (int64_t first_head = 0; first_head < args.H; first_head += kHeads) {
    const T* weight[2];  // of heads first_head + row and that + 8, likewise
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      weight[t] = args.weight + min(first_head + row + 8 * t, args.H - 1) * args.C + first_column;
    }
    float sums[2][4] = {};
#pragma unroll 4
    for (int64_t column = 0; column < args.C; column += kProductColumns) {
      MultiplyStep(source, weight, column, sums);
    }
#pragma unroll
    for (int t = 0; t < 2; ++t) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int64_t token = n + row + e / 2 * 8;
        const int64_t head = first_head + 8 * t + LaneIndex() % 4 * 2 + e % 2;
        if (token >= args.N || head >= args.H) continue;
        const float bias = args.bias == nullptr ? 0 : ToFloat(args.bias[head]);
        args.gate[token * args.H + head] = Gate(sums[t][e] + bias, args.curve);
      }
    }
  }
}

constexpr int kThreads = 256;  // of a block of the elementwise kernels

constexpr int kGates = 4;  // neighbours that a thread takes of an aligned buffer

__global__ void __launch_bounds__(kThreads)
    SigmoidForwardKernel(GateSigmoidForwardArgs<float> args, bool aligned) {
  ForEachVectorOfBlock<kGates>(args.count, aligned, [&](int64_t i, auto width) {
    float value[decltype(width)::kValue];
    LoadFloats(args.gate + i, value);
#pragma unroll
    for (float& each : value) each = Gate(each, args.curve);
    StoreFloats(value, args.gate + i);
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    SigmoidBackwardKernel(GateSigmoidBackwardArgs<T> args, bool aligned) {
  ForEachVectorOfBlock<kGates>(args.count, aligned, [&](int64_t i, auto width) {
    constexpr int kWidth = decltype(width)::kValue;
    float gate[kWidth], dlogit[kWidth];
    LoadFloats(args.gate + i, gate);
    LoadFloats(args.dgate + i, dlogit);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) dlogit[k] *= GateSlope(gate[k], args.curve);
    StoreFloats(dlogit, args.dlogits + i);
  });
}

LaunchShape ElementwiseShape(int64_t count, Stream stream) {
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(count, int64_t{kGates} * kThreads))),
          .block = dim3(kThreads),
          .stream = stream};
}

}  // namespace

template <typename T>
absl::Status AttentionGateForward(const AttentionGateForwardArgs<T>& args, Stream stream) {
  if (args.per_head_slice) CHECK_EQ(args.C % args.H, 0);
  const bool fit = RowsFit<T>(kVectorWidth<T>, args.source_stride, {args.source}) &&
                   RowsFit<T>(kVectorWidth<T>, args.C, {args.weight});
  if constexpr (sizeof(T) == 2) {
    if (fit && !args.per_head_slice && args.C % kProductColumns == 0) {
      return Launch("attention_gate forward, on tensor cores", GateProductKernel<T>,
                    {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, kWarps * kProductTokens))),
                     .block = dim3(kWarps * kWarpSize),
                     .stream = stream},
                    args);
    }
  }
  return Launch("attention_gate forward",
                fit ? GateForwardKernel<T, kVectorWidth<T>> : GateForwardKernel<T, 1>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, kWarps * kTokens))),
                 .block = dim3(kWarps * kWarpSize),
                 .stream = stream},
                args);
}

template <typename T>
absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<T>& args, Stream stream) {
  return Launch("gate sigmoid forward", SigmoidForwardKernel, ElementwiseShape(args.count, stream),
                GateSigmoidForwardArgs<float>{args.gate, args.count, args.curve},
                RowsFit<float>(kGates, 0, {args.gate}));
}

template <typename T>
absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<T>& args, Stream stream) {
  const bool aligned =
      RowsFit<float>(kGates, 0, {args.gate, args.dgate}) && RowsFit<T>(kGates, 0, {args.dlogits});
  return Launch("gate sigmoid backward", SigmoidBackwardKernel<T>,
                ElementwiseShape(args.count, stream), args, aligned);
}

template absl::Status AttentionGateForward(const AttentionGateForwardArgs<float>& args,
                                           Stream stream);
template absl::Status AttentionGateForward(const AttentionGateForwardArgs<bf16>& args,
                                           Stream stream);
template absl::Status AttentionGateForward(const AttentionGateForwardArgs<fp16>& args,
                                           Stream stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<float>& args, Stream stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<bf16>& args, Stream stream);
template absl::Status GateSigmoidForward(const GateSigmoidForwardArgs<fp16>& args, Stream stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<float>& args,
                                          Stream stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<bf16>& args, Stream stream);
template absl::Status GateSigmoidBackward(const GateSigmoidBackwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
