// The weight gradient, dweight += dyᵀ · x, and the bias gradient with it.
//
// In fp32 it is a product of our own where that is faster. Elsewhere oneDNN's: its own ways
// (inner_product backward_weights, a product with a transposed left side) cannot add to fp32
// without losing 5 % or more, take strided operands at all, or sum the bias for free. So dweight is
// computed a block of rows at a time: dy's columns of the block are transposed (and summed, for the
// bias) into scratch memory, multiplied with x, and the product is added to dweight. Blocks are
// small enough that all but x stays in the cache. Measured: docs/measurements_gemm.md.
#include <algorithm>

#include "core/check.h"
#include "core/parallel.h"
#include "core/status.h"
#include "kernels/api/linear.h"
#include "kernels/cpu/linear_layout.h"
#include "kernels/cpu/linear_state.h"
#include "kernels/cpu/onednn_cache.h"
#include "kernels/cpu/transposed_product.h"

namespace sluice::cpu {
namespace {

// Of the transposed columns and the product together.
constexpr int64_t kGradientBlockBytes = 4 << 20;
constexpr int64_t kMinGradientBlockRows = 512;  // fewer, and the product itself gets slow
// dweight rows from which on packing x pays.
constexpr int64_t kMinRowsToPackX = 256;

int64_t GradientBlockRows(int64_t N, int64_t K, int64_t M, ElementType type) {
  const int64_t row_bytes = N * SizeOf(type) + K * 4;
  const int64_t rows = kGradientBlockBytes / row_bytes / 64 * 64;
  return std::min(M, std::max(kMinGradientBlockRows, rows));
}

// Everything about one weight gradient that its blocks share.
template <typename T>
struct WeightGradient {
  LinearBackwardWeightArgs<T> args;
  const void* x;  // packed or plain
  T* transposed;  // (block rows, N), rows transposed_stride apart
  int64_t transposed_stride;
  float* product;  // (block rows, K)
  void* library_scratch;
};

template <typename T>
absl::Status AddGradientBlock(LinearCache::State& state, const WeightGradient<T>& gradient,
                              Matmul& matmul, int64_t first, int64_t count) {
  const LinearBackwardWeightArgs<T>& args = gradient.args;
  TransposeColumns<T>({.matrix = args.dy,
                       .transposed = gradient.transposed,
                       .column_sums = args.dbias,
                       .rows = args.N,
                       .first = first,
                       .count = count,
                       .stride = args.dy_stride,
                       .transposed_stride = gradient.transposed_stride});
  RETURN_IF_ERROR(state.library.Run(
      matmul, {.a = gradient.transposed, .b = gradient.x, .bias = nullptr, .c = gradient.product},
      gradient.library_scratch));
  AddInto(gradient.product, args.dweight + first * args.K, count * args.K);
  return absl::OkStatus();
}

// The same product for a whole block and for the rows that remain after the last one.
struct GradientProducts {
  Matmul* whole_block;
  Matmul* last_block;  // whole_block when nothing remains
};

// Null where the library has none.
absl::StatusOr<GradientProducts> FindProducts(OneDnnCache& library, MatmulShape shape,
                                              int64_t remaining_rows) {
  GradientProducts products;
  ASSIGN_OR_RETURN(products.whole_block, library.FindMatmul(shape));
  products.last_block = products.whole_block;
  if (remaining_rows == 0) return products;
  shape.rows = remaining_rows;
  ASSIGN_OR_RETURN(products.last_block, library.FindMatmul(shape));
  return products;
}

template <typename T>
absl::Status AddWeightGradient(LinearCache::State& state, const LinearBackwardWeightArgs<T>& args) {
  const int64_t block = GradientBlockRows(args.N, args.K, args.M, kElementType<T>);
  MatmulShape shape = {.rows = block,
                       .b = {.inner = args.N,
                             .columns = args.K,
                             .inner_stride = args.x_stride,
                             .column_stride = 1,
                             .type = kElementType<T>},
                       .a_stride = args.N,
                       .c_stride = args.K,
                       .c_type = ElementType::kFloat,
                       .threads = ComputeThreads()};
  ASSIGN_OR_RETURN(Packing * packing, state.library.FindPacking(shape.b));
  shape.packed_b = args.M >= kMinRowsToPackX && packing->bytes > 0;
  ASSIGN_OR_RETURN(GradientProducts products, FindProducts(state.library, shape, args.M % block));
  if (products.whole_block == nullptr || products.last_block == nullptr) {
    // The library cannot read its own layout with so few rows, or has nothing at all.
    shape.packed_b = false;
    ASSIGN_OR_RETURN(products, FindProducts(state.library, shape, args.M % block));
    if (products.whole_block == nullptr || products.last_block == nullptr) {
      return NoProductError(shape);
    }
  }

  ScratchPlan plan;
  const int64_t library =
      plan.Add(std::max({products.whole_block->scratch_bytes, products.last_block->scratch_bytes,
                         packing->scratch_bytes}));
  const int64_t packed_x = plan.Add(shape.packed_b ? packing->bytes : 0);
  const int64_t transposed = plan.Add(block * shape.a_stride * SizeOf(kElementType<T>));
  const int64_t product = plan.Add(block * args.K * 4);
  ASSIGN_OR_RETURN(char* scratch, state.scratch.Reserve(plan.bytes()));
  if (shape.packed_b) {
    RETURN_IF_ERROR(state.library.Pack(*packing, args.x, scratch + packed_x, scratch + library));
  }
  const WeightGradient<T> gradient = {
      .args = args,
      .x = shape.packed_b ? static_cast<const void*>(scratch + packed_x) : args.x,
      .transposed = reinterpret_cast<T*>(scratch + transposed),
      .transposed_stride = shape.a_stride,
      .product = reinterpret_cast<float*>(scratch + product),
      .library_scratch = scratch + library};
  for (int64_t first = 0; first < args.M; first += block) {
    const int64_t count = std::min(block, args.M - first);
    RETURN_IF_ERROR(AddGradientBlock(state, gradient,
                                     count == block ? *products.whole_block : *products.last_block,
                                     first, count));
  }
  return absl::OkStatus();
}

absl::Status AddFloatWeightGradient(LinearCache::State& state,
                                    const LinearBackwardWeightArgs<float>& args) {
  if (!TransposedProductIsFaster(args.M)) return AddWeightGradient(state, args);
  void* workspace = args.workspace;
  if (workspace == nullptr) {
    ASSIGN_OR_RETURN(workspace,
                     state.scratch.Reserve(TransposedProductWorkspaceBytes(args.M, args.K)));
  }
  AddTransposedProduct({.a = args.dy,
                        .b = args.x,
                        .c = args.dweight,
                        .a_sums = args.dbias,
                        .depth = args.N,
                        .rows = args.M,
                        .columns = args.K,
                        .a_stride = args.dy_stride,
                        .b_stride = args.x_stride,
                        .workspace = workspace});
  return absl::OkStatus();
}

absl::Status AddWeightGradientInFloat(LinearCache::State& state,
                                      const LinearBackwardWeightArgs<bf16>& args) {
  ScratchPlan plan;
  const int64_t x_at = plan.Add(args.N * args.K * 4);
  const int64_t dy_at = plan.Add(args.N * args.M * 4);
  ASSIGN_OR_RETURN(char* memory, state.widened.Reserve(plan.bytes()));
  auto* x = reinterpret_cast<float*>(memory + x_at);
  auto* dy = reinterpret_cast<float*>(memory + dy_at);
  WidenRows(args.x, args.x_stride, x, args.N, args.K);
  WidenRows(args.dy, args.dy_stride, dy, args.N, args.M);
  return AddFloatWeightGradient(state, {.x = x,
                                        .dy = dy,
                                        .dweight = args.dweight,
                                        .dbias = args.dbias,
                                        .N = args.N,
                                        .K = args.K,
                                        .M = args.M,
                                        .x_stride = args.K,
                                        .dy_stride = args.M,
                                        .workspace = args.workspace});
}

}  // namespace

template <typename T>
absl::Status LinearBackwardWeight(LinearCache& cache, const LinearBackwardWeightArgs<T>& args) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.K, 1);
  CHECK_GE(args.M, 1);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.dy_stride, args.M);
  if (args.N == 0) return absl::OkStatus();
  CHECK(args.x != nullptr && args.dy != nullptr && args.dweight != nullptr) << "null operand";
  if constexpr (std::is_same_v<T, bf16>) {
    if (!HasNativeBf16Matmul()) return AddWeightGradientInFloat(cache.state(), args);
    return AddWeightGradient(cache.state(), args);
  } else {
    return AddFloatWeightGradient(cache.state(), args);
  }
}

template <typename T>
int64_t LinearBackwardWeightWorkspaceBytes(int64_t K, int64_t M) {
  if (std::is_same_v<T, bf16> && HasNativeBf16Matmul()) return 0;
  return TransposedProductIsFaster(M) ? TransposedProductWorkspaceBytes(M, K) : 0;
}

template int64_t LinearBackwardWeightWorkspaceBytes<float>(int64_t, int64_t);
template int64_t LinearBackwardWeightWorkspaceBytes<bf16>(int64_t, int64_t);

template absl::Status LinearBackwardWeight(LinearCache&, const LinearBackwardWeightArgs<float>&);
template absl::Status LinearBackwardWeight(LinearCache&, const LinearBackwardWeightArgs<bf16>&);

}  // namespace sluice::cpu
