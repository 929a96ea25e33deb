// Gradients of the tables. Tokens are sorted (token_sort.cuh), so that the rows of one token lie
// together; what a token adds up is then a sum over its rows in rising order, in pieces of 32 rows
// that different warps sum, since the rows of one token ([MASK], padding) can be half of the batch.
// Nothing depends on which block runs first.
#include "core/check.h"
#include "kernels/api/embedding.h"
#include "kernels/cuda/partial_sums.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/token_sort.cuh"

namespace sluice::cuda {
namespace {

constexpr int kWarps = 4;             // of a block
constexpr int64_t kPiece = 32;        // rows of one token that a warp sums
constexpr int64_t kSegmentRows = 64;  // rows that a warp sums for the segment table
// dy is read and float is written: kWidth is 4, or 1.

// Where things are in the workspace.
struct Workspace {
  Workspace(void* memory, int64_t N, int64_t C, int64_t S) {
    int64_t bytes = 0;
    const auto take = [&](int64_t size) {
      char* place = static_cast<char*>(memory) + bytes;
      bytes += RoundUp(size, 64);
      return place;
    };
    keys[0] = reinterpret_cast<TokenKey*>(take(N * static_cast<int64_t>(sizeof(TokenKey))));
    keys[1] = reinterpret_cast<TokenKey*>(take(N * static_cast<int64_t>(sizeof(TokenKey))));
    const int64_t row_bytes = RoundUp(C, 4) * static_cast<int64_t>(sizeof(float));
    pieces = reinterpret_cast<float*>(take(CeilDiv(N, kPiece) * row_bytes));
    segments = reinterpret_cast<float*>(take(CeilDiv(N, kSegmentRows) * S * row_bytes));
    total_bytes = bytes;
  }

  TokenKey* keys[2];  // (N) each
  float* pieces;      // (N / 32, C): sums of whole pieces; rows RoundUp(C, 4) apart, as below
  float* segments;    // (N / 64, S, C): sums of runs of rows, by segment
  int64_t total_bytes;
};

// Which warp this is of the grid's, and its tile: tiles of one item lie side by side.
struct Work {
  int64_t item, column;
  __device__ explicit Work(int64_t C) {
    const int64_t tiles = (C + kTileColumns - 1) / kTileColumns;
    const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex();
    item = warp / tiles;
    column = warp % tiles * kTileColumns;
  }
};
LaunchShape ShapeOf(int64_t items, int64_t C, Stream stream) {
  return {.grid = dim3(static_cast<unsigned>(CeilDiv(items * CeilDiv(C, kTileColumns), kWarps))),
          .block = dim3(kWarps * kWarpSize),
          .stream = stream};
}

template <int kWidth, typename V>
__device__ __forceinline__ void AddRow(const V* row, int64_t column, int64_t C,
                                       float (&sum)[kTileValues]) {
  float value[kTileValues];
  LoadTile<kWidth>(row, column, C, value);
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) sum[i] += value[i];
}
// to[column …] += sum.
template <int kWidth>
__device__ __forceinline__ void AddTo(const float (&sum)[kTileValues], int64_t column, int64_t C,
                                      float* to) {
  float total[kTileValues];
  LoadTile<kWidth>(to, column, C, total);
#pragma unroll
  for (int i = 0; i < kTileValues; ++i) total[i] += sum[i];
  StoreTile<kWidth>(total, column, C, to);
}
// Row of dy that belongs to token n < 2^31; 32-bit division is far cheaper.
template <typename T>
__device__ __forceinline__ int64_t RowOf(const EmbeddingBackwardArgs<T>& args, int64_t n) {
  return n + (static_cast<uint32_t>(n) / static_cast<uint32_t>(args.T_) + 1) * args.R;
}
// Sum of the rows of dy of sorted keys [begin, end).
template <int kWidth, typename T>
__device__ __forceinline__ void SumKeys(const EmbeddingBackwardArgs<T>& args, const TokenKey* keys,
                                        int64_t begin, int64_t end, int64_t column,
                                        float (&sum)[kTileValues]) {
#pragma unroll 4
  for (int64_t k = begin; k < end; ++k) {
    const int64_t n = PlaceOf(keys[k]);
    AddRow<kWidth>(args.dy + RowOf(args, n) * args.C, column, args.C, sum);
  }
}

// Whole pieces. A piece that begins at k of a run of one token that begins at `begin` is number
// begin / 32 + (k - begin) / 32: two runs never have the same, and item 32 · number … + 31 holds k.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    SumPiecesKernel(EmbeddingBackwardArgs<T> args, const TokenKey* keys, float* pieces) {
  const Work work(args.C);
  const int64_t k = work.item * kPiece + LaneIndex();
  const bool inside = k + kPiece <= args.N;
  const int64_t token = inside ? TokenOf(keys[k]) : 0;
  const bool whole = inside && TokenOf(keys[k + kPiece - 1]) == token;
  if (!WarpAny(whole)) return;
  const int64_t begin = CountSmaller(keys, args.N, MakeTokenKey(token, 0));
  const bool begins = whole && (k - begin) % kPiece == 0;
  const uint32_t lanes = WarpBallot(begins);  // one at most
  if (lanes == 0) return;
  const int64_t first = work.item * kPiece + (__ffs(static_cast<int>(lanes)) - 1);
  float sum[kTileValues] = {};
  SumKeys<kWidth>(args, keys, first, first + kPiece, work.column, sum);
  const int64_t stride = (args.C + 3) / 4 * 4;
  StoreTile<kWidth>(sum, work.column, args.C, pieces + work.item * stride);
}

// For each run of one token: its pieces, then the rows that are left.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    AddTokensKernel(EmbeddingBackwardArgs<T> args, const TokenKey* keys, const float* pieces) {
  const Work work(args.C);
  const int64_t begin = work.item;
  if (begin >= args.N) return;
  const int64_t token = TokenOf(keys[begin]);
  if (begin > 0 && TokenOf(keys[begin - 1]) == token) return;
  const int64_t end = CountSmaller(keys, args.N, MakeTokenKey(token + 1, 0));
  const int64_t whole = (end - begin) / kPiece, stride = (args.C + 3) / 4 * 4;
  float sum[kTileValues] = {};
#pragma unroll 4
  for (int64_t piece = 0; piece < whole; ++piece) {
    AddRow<kWidth>(pieces + (begin / kPiece + piece) * stride, work.column, args.C, sum);
  }
  SumKeys<kWidth>(args, keys, begin + whole * kPiece, end, work.column, sum);
  AddTo<kWidth>(sum, work.column, args.C, args.dtoken_table + token * args.C);
}

// Row i of every sequence: a register's, or a position's.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    AddPositionsKernel(EmbeddingBackwardArgs<T> args) {
  const Work work(args.C);
  const int64_t i = work.item, length = args.R + args.T_, rows = args.N / args.T_ * length;
  float* table = i < args.R ? args.dregister_table : args.dposition_table;
  if (i >= length || table == nullptr) return;
  float sum[kTileValues] = {};
#pragma unroll 4
  for (int64_t row = i; row < rows; row += length) {
    AddRow<kWidth>(args.dy + row * args.C, work.column, args.C, sum);
  }
  const int64_t entry = i < args.R ? i : args.position_offset + i - args.R;
  AddTo<kWidth>(sum, work.column, args.C, table + entry * args.C);
}

// Sums by segment of 64 rows. Neighbours mostly have the same segment, whose sum stays in
// registers.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    SumSegmentsKernel(EmbeddingBackwardArgs<T> args, float* partial) {
  const Work work(args.C);
  const int64_t first = work.item * kSegmentRows, last = min(first + kSegmentRows, args.N);
  if (first >= args.N) return;
  const int64_t stride = (args.C + 3) / 4 * 4;
  float* sums = partial + work.item * args.S * stride;  // (S, C)
  float sum[kTileValues] = {};
  for (int64_t s = 0; s < args.S; ++s) {
    StoreTile<kWidth>(sum, work.column, args.C, sums + s * stride);
  }
  int64_t segment = args.segments == nullptr ? 0 : args.segments[first];
  for (int64_t n = first; n < last; ++n) {
    const int64_t next = args.segments == nullptr ? 0 : args.segments[n];
    if (next != segment) {
      AddTo<kWidth>(sum, work.column, args.C, sums + segment * stride);
#pragma unroll
      for (int i = 0; i < kTileValues; ++i) sum[i] = 0;
      segment = next;
    }
    AddRow<kWidth>(args.dy + RowOf(args, n) * args.C, work.column, args.C, sum);
  }
  AddTo<kWidth>(sum, work.column, args.C, sums + segment * stride);
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    CopyTokenRowsKernel(EmbeddingBackwardArgs<T> args) {
  const Work work(args.C);
  const int64_t n = work.item;
  if (n >= args.N) return;
  float value[kTileValues];
  LoadTile<kWidth>(args.dy + RowOf(args, n) * args.C, work.column, args.C, value);
  StoreTile<kWidth>(value, work.column, args.C, args.dprojected + n * args.C);
}

template <typename T>
absl::Status AddTokens(const EmbeddingBackwardArgs<T>& args, const Workspace& workspace,
                       Stream stream) {
  const TokenKey* keys = nullptr;
  RETURN_IF_ERROR(SortTokens(args.tokens, args.N, workspace.keys, stream, &keys));
  const bool fit =
      RowsFit<T>(4, args.C, {args.dy}) && RowsFit<float>(4, args.C, {args.dtoken_table});
  RETURN_IF_ERROR(Launch(
      "embedding backward, pieces of tokens", fit ? SumPiecesKernel<T, 4> : SumPiecesKernel<T, 1>,
      ShapeOf(CeilDiv(args.N, kPiece), args.C, stream), args, keys, workspace.pieces));
  return Launch("embedding backward, tokens", fit ? AddTokensKernel<T, 4> : AddTokensKernel<T, 1>,
                ShapeOf(args.N, args.C, stream), args, keys, workspace.pieces);
}

template <typename T>
absl::Status AddPositions(const EmbeddingBackwardArgs<T>& args, Stream stream) {
  const bool fit = RowsFit<T>(4, args.C, {args.dy}) &&
                   RowsFit<float>(4, args.C, {args.dposition_table, args.dregister_table});
  return Launch("embedding backward, positions",
                fit ? AddPositionsKernel<T, 4> : AddPositionsKernel<T, 1>,
                ShapeOf(args.R + args.T_, args.C, stream), args);
}

template <typename T>
absl::Status AddSegments(const EmbeddingBackwardArgs<T>& args, const Workspace& workspace,
                         Stream stream) {
  const int64_t runs = CeilDiv(args.N, kSegmentRows), stride = RoundUp(args.C, 4);
  const bool fit = RowsFit<T>(4, args.C, {args.dy});
  RETURN_IF_ERROR(Launch("embedding backward, runs of segments",
                         fit ? SumSegmentsKernel<T, 4> : SumSegmentsKernel<T, 1>,
                         ShapeOf(runs, args.C, stream), args, workspace.segments));
  for (int64_t s = 0; s < args.S; ++s) {
    RETURN_IF_ERROR(AddPartialSums("embedding backward, segments",
                                   {.partial = workspace.segments + s * stride,
                                    .parts = runs,
                                    .stride = args.S * stride,
                                    .total = {args.dsegment_table + s * args.C, nullptr},
                                    .distance = 0,
                                    .columns = args.C},
                                   stream));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t EmbeddingBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t S) {
  return Workspace(nullptr, N, C, S).total_bytes;
}

template <typename T>
absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<T>& args, Stream stream) {
  if (args.N == 0) return absl::OkStatus();
  CHECK_LT(args.N, int64_t{1} << 31);
  const Workspace workspace(args.workspace, args.N, args.C, args.S);
  if (args.dtoken_table != nullptr) RETURN_IF_ERROR(AddTokens(args, workspace, stream));
  if (args.dprojected != nullptr) {
    const bool fit = RowsFit<T>(kVectorWidth<T>, args.C, {args.dy, args.dprojected});
    RETURN_IF_ERROR(
        Launch("embedding backward, projected rows",
               fit ? CopyTokenRowsKernel<T, kVectorWidth<T>> : CopyTokenRowsKernel<T, 1>,
               ShapeOf(args.N, args.C, stream), args));
  }
  RETURN_IF_ERROR(AddPositions(args, stream));
  if (args.dsegment_table == nullptr) return absl::OkStatus();
  return AddSegments(args, workspace, stream);
}

template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<float>& args, Stream stream);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<bf16>& args, Stream stream);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<fp16>& args, Stream stream);

}  // namespace sluice::cuda
