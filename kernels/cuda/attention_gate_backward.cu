// Backward of the gates' logits. A first kernel takes a few tokens a warp: the gradient of their
// logits, kept in workspace, and what it adds to dsource. The gradient of the weight is a sum over
// all tokens: blocks of tokens leave partial sums, which are added up in order. How tokens are
// dealt out depends on N, C and H alone. bf16 and fp16 whose rows are whole vectors are multiplied
// on tensor cores (attention_gate_backward_product.cuh); float, slices and other rows here.
#include "core/check.h"
#include "core/status.h"
#include "kernels/api/attention_gate.h"
#include "kernels/cuda/attention_gate_backward_product.cuh"
#include "kernels/cuda/partial_sums.cuh"
#include "kernels/cuda/reduce.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;               // of a block of the first kernel
constexpr int kBlocksPerProcessor = 4;  // at least: up to 128 registers, and nothing is spilled
constexpr int kTokens = 4;              // of a warp there
constexpr int kHeads = 8;               // at a time there
constexpr int kWeightHeads = 16;        // of a block of the second
constexpr int kWeightWarps = 8;         // of a block of the second: each takes every 8th token
constexpr int kWeightValues = 4;        // a lane's columns there
constexpr int kWeightColumns = kWarpSize * kWeightValues;
static_assert(kWeightValues == 4, "one vector of shared memory");
static_assert(kTokens * kHeads == kWarpSize, "a lane holds one logit's gradient");

// dsource[n] += Σ_h dlogit[n, h] · weight[h] of four tokens; their dlogits go to workspace.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize, kBlocksPerProcessor)
    GateBackwardSourceKernel(AttentionGateBackwardArgs<T> args, float* dlogits) {
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex()) * kTokens;
  if (n >= args.N) return;
  const int64_t token = n + LaneIndex() / kHeads;
  const auto D = static_cast<uint32_t>(args.C / args.H);
  for (int64_t column = 0; column < args.C; column += kTileColumns) {
    float sum[kTokens][kTileValues] = {};
    for (int64_t first = 0; first < args.H; first += kHeads) {
      const int64_t head = first + LaneIndex() % kHeads;
      const bool there = token < args.N && head < args.H;
      const float dlogit = there ? LogitGradient(args, token, head) : 0;
      if (there && column == 0) dlogits[token * args.H + head] = dlogit;
      if (args.per_head_slice) continue;
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        if (first + h >= args.H) break;
        float weight[kTileValues];
        LoadTile<kWidth>(args.weight + (first + h) * args.C, column, args.C, weight);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
          const float factor = WarpBroadcast(dlogit, t * kHeads + h);
#pragma unroll
          for (int i = 0; i < kTileValues; ++i) sum[t][i] += factor * weight[i];
        }
      }
    }
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (n + t >= args.N) break;
      if (args.per_head_slice) {  // the slices' weights lie side by side like the source
        LoadTile<kWidth>(args.weight, column, args.C, sum[t]);
#pragma unroll
        for (int i = 0; i < kTileValues; ++i) {
          const int64_t c = column + TileColumn<kWidth>(LaneIndex(), i);
          if (c < args.C) sum[t][i] *= LogitGradient(args, n + t, static_cast<uint32_t>(c) / D);
        }
      }
      float dsource[kTileValues];
      T* row = args.dsource + (n + t) * args.dsource_stride;
      LoadTile<kWidth>(row, column, args.C, dsource);
#pragma unroll
      for (int i = 0; i < kTileValues; ++i) dsource[i] += sum[t][i];
      StoreTile<kWidth>(dsource, column, args.C, row);
    }
  }
}

// The sum over the block's warps of each one's `sum`, in order; warp 0 stores it at `to`.
template <int kWidth>
__device__ __forceinline__ void StoreSumOfWarps(const float (&sum)[kWeightValues], int64_t column,
                                                int64_t C, float* to) {
  __shared__ alignas(16) float of_warp[kWeightWarps][kWeightColumns];
  __syncthreads();  // what was there before has been read
  *reinterpret_cast<float4*>(of_warp[WarpIndex()] + LaneIndex() * kWeightValues) =
      make_float4(sum[0], sum[1], sum[2], sum[3]);
  __syncthreads();
  if (WarpIndex() > 0) return;
  float total[kWeightValues] = {};
  for (int warp = 0; warp < kWeightWarps; ++warp) {
    float other[kWeightValues];
    LoadFloats(of_warp[warp] + LaneIndex() * kWeightValues, other);
#pragma unroll
    for (int i = 0; i < kWeightValues; ++i) total[i] += other[i];
  }
  StoreTile<kWidth>(total, column, C, to);
}

// Partial sums of dweight[h] += Σ_n dlogit[n, h] · source[n] over a part of the tokens, for 128
// columns and 16 heads. Grid (parts, column tiles, groups of heads).
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWeightWarps* kWarpSize)
    GateBackwardWeightKernel(AttentionGateBackwardArgs<T> args, GateBackwardPlan plan) {
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWeightColumns;
  const int64_t first_head = static_cast<int64_t>(blockIdx.z) * kWeightHeads;
  const auto heads = static_cast<int>(min(args.H - first_head, int64_t{kWeightHeads}));
  const int64_t begin = blockIdx.x * plan.tokens, end = min(begin + plan.tokens, args.N);
  float sum[kWeightHeads][kWeightValues] = {};
#pragma unroll 2
  for (int64_t n = begin + WarpIndex(); n < end; n += kWeightWarps) {
    float x[kWeightValues];
    LoadTile<kWidth>(args.source + n * args.source_stride, column, args.C, x);
    const float dlogit =
        LaneIndex() < heads ? plan.dlogits[n * args.H + first_head + LaneIndex()] : 0;
#pragma unroll
    for (int h = 0; h < kWeightHeads; ++h) {
      const float factor = WarpBroadcast(dlogit, h);
#pragma unroll
      for (int i = 0; i < kWeightValues; ++i) sum[h][i] += factor * x[i];
    }
  }
  float* partial = plan.dweight + blockIdx.x * plan.stride;
#pragma unroll
  for (int h = 0; h < kWeightHeads; ++h) {
    if (h >= heads) break;
    StoreSumOfWarps<kWidth>(sum[h], column, args.C, partial + (first_head + h) * args.C);
  }
}

// The same with slices: a column has one head. Grid (parts, column tiles).
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWeightWarps* kWarpSize)
    GateBackwardSliceKernel(AttentionGateBackwardArgs<T> args, GateBackwardPlan plan) {
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kWeightColumns;
  const int64_t D = args.C / args.H;
  const int64_t begin = blockIdx.x * plan.tokens, end = min(begin + plan.tokens, args.N);
  int64_t head[kWeightValues];
#pragma unroll
  for (int i = 0; i < kWeightValues; ++i) {
    head[i] = min(column + TileColumn<kWidth>(LaneIndex(), i), args.C - 1) / D;
  }
  float sum[kWeightValues] = {};
#pragma unroll 4
  for (int64_t n = begin + WarpIndex(); n < end; n += kWeightWarps) {
    float x[kWeightValues];
    LoadTile<kWidth>(args.source + n * args.source_stride, column, args.C, x);
#pragma unroll
    for (int i = 0; i < kWeightValues; ++i) sum[i] += plan.dlogits[n * args.H + head[i]] * x[i];
  }
  StoreSumOfWarps<kWidth>(sum, column, args.C, plan.dweight + blockIdx.x * plan.stride);
}

// Partial sums of dbias[h] += Σ_n dlogit[n, h]. Block (32 heads, 8), grid (parts, heads / 32).
__global__ void __launch_bounds__(kWeightWarps* kWarpSize)
    GateBackwardBiasKernel(GateBackwardPlan plan, int64_t N, int64_t H) {
  __shared__ float of_warp[kWeightWarps][kWarpSize];
  const int64_t h = static_cast<int64_t>(blockIdx.y) * kWarpSize + LaneIndex();
  const int64_t begin = blockIdx.x * plan.tokens, end = min(begin + plan.tokens, N);
  float sum = 0;
#pragma unroll 4
  for (int64_t n = begin + WarpIndex(); h < H && n < end; n += kWeightWarps) {
    sum += plan.dlogits[n * H + h];
  }
  of_warp[WarpIndex()][LaneIndex()] = sum;
  __syncthreads();
  if (WarpIndex() > 0 || h >= H) return;
  for (int warp = 1; warp < kWeightWarps; ++warp) sum += of_warp[warp][LaneIndex()];
  plan.dbias[blockIdx.x * H + h] = sum;
}

// The gradients of logits that no source makes.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    GateBackwardFreeKernel(AttentionGateBackwardArgs<T> args, float* dlogits) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kWarps * kWarpSize) + threadIdx.x;
  if (i < args.N * args.H) dlogits[i] = LogitGradient(args, 0, i);
}

template <typename T>
absl::Status FindLogitGradients(const AttentionGateBackwardArgs<T>& args,
                                const GateBackwardPlan& plan, Stream stream) {
  constexpr int kThreads = kWarps * kWarpSize;
  return Launch("attention_gate backward, without a source", GateBackwardFreeKernel<T>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N * args.H, kThreads))),
                 .block = dim3(kThreads),
                 .stream = stream},
                args, plan.dlogits);
}

template <typename T>
absl::Status AddToSource(const AttentionGateBackwardArgs<T>& args, const GateBackwardPlan& plan,
                         Stream stream) {
  constexpr int kWidth = kVectorWidth<T>;
  const bool fit = RowsFit<T>(kWidth, args.dsource_stride, {args.dsource}) &&
                   RowsFit<T>(kWidth, args.C, {args.weight});
  if constexpr (sizeof(T) == 2) {
    if (fit && !args.per_head_slice) {
      return Launch("attention_gate backward, source, on tensor cores",
                    GateBackwardSourceProductKernel<T>,
                    {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, kGateWarps * kGateRows))),
                     .block = dim3(kGateWarps * kWarpSize),
                     .stream = stream},
                    args, plan.dlogits);
    }
  }
  return Launch("attention_gate backward, source",
                fit ? GateBackwardSourceKernel<T, kWidth> : GateBackwardSourceKernel<T, 1>,
                {.grid = dim3(static_cast<unsigned>(CeilDiv(args.N, kWarps * kTokens))),
                 .block = dim3(kWarps * kWarpSize),
                 .stream = stream},
                args, plan.dlogits);
}

// The parts' sums, by tensor cores where rows are whole vectors.
template <typename T>
absl::Status LeavePartsOfWeight(const AttentionGateBackwardArgs<T>& args,
                                const GateBackwardPlan& plan, Stream stream) {
  const auto parts = static_cast<unsigned>(plan.parts);
  if constexpr (sizeof(T) == 2) {
    constexpr int kColumns = kGateWarps * kGateColumns;
    if (!args.per_head_slice && args.C % kVectorWidth<T> == 0 &&
        RowsFit<T>(kVectorWidth<T>, args.source_stride, {args.source})) {
      return Launch("attention_gate backward, weight, on tensor cores",
                    GateBackwardWeightProductKernel<T>,
                    {.grid = dim3(parts, static_cast<unsigned>(CeilDiv(args.C, kColumns)),
                                  static_cast<unsigned>(CeilDiv(args.H, kGateRows))),
                     .block = dim3(kGateWarps * kWarpSize),
                     .stream = stream},
                    args, plan);
    }
  }
  const bool fit =
      args.C % kWeightValues == 0 && RowsFit<T>(kWeightValues, args.source_stride, {args.source});
  auto* kernel = fit ? GateBackwardWeightKernel<T, kWeightValues> : GateBackwardWeightKernel<T, 1>;
  if (args.per_head_slice) {
    kernel = fit ? GateBackwardSliceKernel<T, kWeightValues> : GateBackwardSliceKernel<T, 1>;
  }
  const int64_t groups = args.per_head_slice ? 1 : CeilDiv(args.H, kWeightHeads);
  return Launch("attention_gate backward, weight", kernel,
                {.grid = dim3(parts, static_cast<unsigned>(CeilDiv(args.C, kWeightColumns)),
                              static_cast<unsigned>(groups)),
                 .block = dim3(kWeightWarps * kWarpSize),
                 .stream = stream},
                args, plan);
}

template <typename T>
absl::Status AddToWeight(const AttentionGateBackwardArgs<T>& args, const GateBackwardPlan& plan,
                         Stream stream) {
  RETURN_IF_ERROR(LeavePartsOfWeight(args, plan, stream));
  return AddPartialSums("attention_gate backward, parts of weight",
                        {.partial = plan.dweight,
                         .parts = plan.parts,
                         .stride = plan.stride,
                         .total = {args.dweight, nullptr},
                         .distance = 0,
                         .columns = args.per_head_slice ? args.C : args.H * args.C},
                        stream);
}

template <typename T>
absl::Status AddToBias(const AttentionGateBackwardArgs<T>& args, const GateBackwardPlan& plan,
                       Stream stream) {
  RETURN_IF_ERROR(Launch("attention_gate backward, bias", GateBackwardBiasKernel,
                         {.grid = dim3(static_cast<unsigned>(plan.parts),
                                       static_cast<unsigned>(CeilDiv(args.H, kWarpSize))),
                          .block = dim3(kWeightWarps * kWarpSize),
                          .stream = stream},
                         plan, args.N, args.H));
  return AddPartialSums("attention_gate backward, parts of bias",
                        {.partial = plan.dbias,
                         .parts = plan.parts,
                         .stride = args.H,
                         .total = {args.dbias, nullptr},
                         .distance = 0,
                         .columns = args.H},
                        stream);
}

}  // namespace

int64_t AttentionGateBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t H) {
  return GateBackwardPlan(nullptr, N, C, H).total_bytes;
}

template <typename T>
absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<T>& args, Stream stream) {
  if (args.per_head_slice) CHECK_EQ(args.C % args.H, 0);
  if (args.N == 0) return absl::OkStatus();
  const GateBackwardPlan plan(args.workspace, args.N, args.C, args.H);
  if (args.C == 0) {
    RETURN_IF_ERROR(FindLogitGradients(args, plan, stream));
  } else {
    RETURN_IF_ERROR(AddToSource(args, plan, stream));
    RETURN_IF_ERROR(AddToWeight(args, plan, stream));
  }
  if (args.dbias == nullptr) return absl::OkStatus();
  return AddToBias(args, plan, stream);
}

template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<float>& args,
                                            Stream stream);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<bf16>& args,
                                            Stream stream);
template absl::Status AttentionGateBackward(const AttentionGateBackwardArgs<fp16>& args,
                                            Stream stream);

}  // namespace sluice::cuda
