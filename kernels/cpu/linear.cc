#include "kernels/api/linear.h"

#include <algorithm>

#include "core/check.h"
#include "core/parallel.h"
#include "core/status.h"
#include "kernels/cpu/linear_layout.h"
#include "kernels/cpu/linear_state.h"
#include "kernels/cpu/onednn_cache.h"
#include "kernels/cpu/packed_product.h"

namespace sluice::cpu {

LinearCache::LinearCache() : state_(std::make_unique<State>()) {}
LinearCache::~LinearCache() = default;
int64_t LinearCache::primitive_count() const { return state_->library.primitive_count(); }
int64_t LinearCache::scratch_bytes() const {
  return state_->scratch.bytes() + state_->widened.bytes();
}

namespace {

// C = A · B [+ bias] [+ C] with B a weight that may have been packed.
struct Product {
  MatmulShape shape;  // packed_b is not looked at
  MatmulOperands operands;
  void* packed;      // null: the weight is not packed
  bool* is_current;  // with `packed`
};

MatrixLayout ForwardLayout(int64_t K, int64_t M, ElementType type) {
  return {.inner = K, .columns = M, .inner_stride = 1, .column_stride = K, .type = type};
}
MatrixLayout BackwardInputLayout(int64_t K, int64_t M, ElementType type) {
  return {.inner = M, .columns = K, .inner_stride = K, .column_stride = 1, .type = type};
}

absl::Status RunPlain(LinearCache::State& state, const Product& product) {
  MatmulShape shape = product.shape;
  shape.packed_b = false;
  ASSIGN_OR_RETURN(Matmul * matmul, state.library.FindMatmul(shape));
  if (matmul == nullptr) return NoProductError(shape);
  ASSIGN_OR_RETURN(char* scratch, state.scratch.Reserve(matmul->scratch_bytes));
  return state.library.Run(*matmul, product.operands, scratch);
}

// Whether a packed copy of b is our own product's, and not the library's.
bool IsPackedInPanels(const MatrixLayout& b) {
  return b.type == ElementType::kFloat && PackedProductIsFaster(b.inner, b.columns);
}

absl::Status RunPanels(LinearCache::State& state, const Product& product) {
  const MatmulShape& shape = product.shape;
  const MatrixLayout& b = shape.b;
  ASSIGN_OR_RETURN(char* workspace,
                   state.scratch.Reserve(PackedProductWorkspaceBytes(shape.rows, b.inner)));
  if (!*product.is_current) {
    PackWeightPanels({.weight = static_cast<const float*>(product.operands.b),
                      .inner = b.inner,
                      .columns = b.columns,
                      .inner_stride = b.inner_stride,
                      .column_stride = b.column_stride,
                      .packed = product.packed});
    *product.is_current = true;
  }
  MultiplyPacked({.a = static_cast<const float*>(product.operands.a),
                  .b = product.packed,
                  .bias = static_cast<const float*>(product.operands.bias),
                  .c = static_cast<float*>(product.operands.c),
                  .add_to_c = shape.add_to_c,
                  .rows = shape.rows,
                  .inner = b.inner,
                  .columns = b.columns,
                  .a_stride = shape.a_stride,
                  .c_stride = shape.c_stride,
                  .workspace = workspace});
  return absl::OkStatus();
}

absl::Status RunNative(LinearCache::State& state, const Product& product) {
  if (product.packed == nullptr) return RunPlain(state, product);
  if (IsPackedInPanels(product.shape.b)) return RunPanels(state, product);
  MatmulShape shape = product.shape;
  shape.packed_b = true;
  ASSIGN_OR_RETURN(Packing * packing, state.library.FindPacking(shape.b));
  if (packing->bytes == 0) return RunPlain(state, product);
  ASSIGN_OR_RETURN(Matmul * matmul, state.library.FindMatmul(shape));
  if (matmul == nullptr) return RunPlain(state, product);
  ASSIGN_OR_RETURN(char* scratch,
                   state.scratch.Reserve(std::max(matmul->scratch_bytes, packing->scratch_bytes)));
  if (!*product.is_current) {
    RETURN_IF_ERROR(state.library.Pack(*packing, product.operands.b, product.packed, scratch));
    *product.is_current = true;
  }
  MatmulOperands operands = product.operands;
  operands.b = product.packed;
  return state.library.Run(*matmul, operands, scratch);
}

// A bf16 product by way of fp32. A packed weight is its fp32 copy.
absl::Status RunInFloat(LinearCache::State& state, const Product& product) {
  const MatmulShape& given = product.shape;
  const MatmulOperands& operands = product.operands;
  const MatrixLayout& b = given.b;
  const bool float_c = given.c_type == ElementType::kFloat;
  ScratchPlan plan;
  const int64_t a_at = plan.Add(given.rows * b.inner * 4);
  const int64_t bias_at = plan.Add(b.columns * 4);
  const int64_t weight_at = plan.Add(product.packed == nullptr ? b.inner * b.columns * 4 : 0);
  const int64_t c_at = plan.Add(float_c ? 0 : given.rows * b.columns * 4);
  ASSIGN_OR_RETURN(char* memory, state.widened.Reserve(plan.bytes()));
  const auto at = [&](int64_t offset) { return reinterpret_cast<float*>(memory + offset); };

  auto* weight = product.packed != nullptr ? static_cast<float*>(product.packed) : at(weight_at);
  if (product.packed == nullptr || !*product.is_current) {
    const int64_t row = std::max(b.inner_stride, b.column_stride);
    WidenRows(static_cast<const bf16*>(operands.b), row, weight, b.inner * b.columns / row, row);
    if (product.packed != nullptr) *product.is_current = true;
  }
  WidenRows(static_cast<const bf16*>(operands.a), given.a_stride, at(a_at), given.rows, b.inner);
  if (given.has_bias) {
    WidenRows(static_cast<const bf16*>(operands.bias), b.columns, at(bias_at), 1, b.columns);
  }
  auto* rounded = static_cast<bf16*>(operands.c);
  if (given.add_to_c && !float_c) {
    WidenRows(rounded, given.c_stride, at(c_at), given.rows, b.columns);
  }

  Product widened = {.shape = given,
                     .operands = {.a = at(a_at),
                                  .b = weight,
                                  .bias = given.has_bias ? at(bias_at) : nullptr,
                                  .c = float_c ? operands.c : at(c_at)},
                     .packed = nullptr,
                     .is_current = nullptr};
  widened.shape.b.type = widened.shape.c_type = ElementType::kFloat;
  widened.shape.a_stride = b.inner;
  if (!float_c) widened.shape.c_stride = b.columns;
  RETURN_IF_ERROR(RunPlain(state, widened));
  if (!float_c) RoundRows(at(c_at), rounded, given.c_stride, given.rows, b.columns);
  return absl::OkStatus();
}

absl::Status Run(LinearCache::State& state, const Product& product) {
  if (product.shape.rows == 0) return absl::OkStatus();
  CHECK(product.operands.a != nullptr && product.operands.b != nullptr &&
        product.operands.c != nullptr)
      << "null operand";
  if (product.shape.b.type == ElementType::kBf16 && !HasNativeBf16Matmul()) {
    return RunInFloat(state, product);
  }
  return RunNative(state, product);
}

void CheckSizes(int64_t N, int64_t K, int64_t M) {
  CHECK_GE(N, 0);
  CHECK_GE(K, 1);
  CHECK_GE(M, 1);
}

// Rows from which on what packing saves is worth a pass over the weight
// (docs/measurements_gemm.md). The plain weight of dy · W is read worst in fp32.
constexpr int64_t kMinRowsToPackForward = 768;
constexpr int64_t kMinRowsToPackBackwardBf16 = 512;
constexpr int64_t kMinRowsToPackBackwardFloat = 256;
// On AMX dy · W loses half of its rate on a plain weight (docs/performance.md), and its layout is
// written as fast as memory takes it.
constexpr int64_t kMinRowsToPackBackwardInPairs = 256;

int64_t PackedBytes(LinearCache& cache, const MatrixLayout& layout) {
  if (layout.type == ElementType::kBf16 && !HasNativeBf16Matmul()) {
    return layout.inner * layout.columns * 4;
  }
  if (IsPackedInPanels(layout)) return PackedProductBytes(layout.inner, layout.columns);
  const absl::StatusOr<Packing*> packing = cache.state().library.FindPacking(layout);
  return packing.ok() ? (*packing)->bytes : 0;
}

}  // namespace

template <typename T>
int64_t PackedForwardBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M) {
  CheckSizes(N, K, M);
  if (N < kMinRowsToPackForward) return 0;
  return PackedBytes(cache, ForwardLayout(K, M, kElementType<T>));
}

template <typename T>
int64_t PackedBackwardInputBytes(LinearCache& cache, int64_t N, int64_t K, int64_t M) {
  CheckSizes(N, K, M);
  const MatrixLayout layout = BackwardInputLayout(K, M, kElementType<T>);
  const bool is_bf16 = kElementType<T> == ElementType::kBf16;
  if (N < (is_bf16 ? kMinRowsToPackBackwardBf16 : kMinRowsToPackBackwardFloat)) {
    if (!is_bf16 || !HasNativeBf16Matmul() || N < kMinRowsToPackBackwardInPairs) return 0;
    const absl::StatusOr<Packing*> packing = cache.state().library.FindPacking(layout);
    if (!packing.ok() || !(*packing)->in_blocks) return 0;
  }
  return PackedBytes(cache, layout);
}

template <typename T>
absl::Status LinearForward(LinearCache& cache, const LinearForwardArgs<T>& args) {
  CheckSizes(args.N, args.K, args.M);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.y_stride, args.M);
  PackedWeight* packed = args.packed;
  return Run(cache.state(),
             {.shape = {.rows = args.N,
                        .b = ForwardLayout(args.K, args.M, kElementType<T>),
                        .a_stride = args.x_stride,
                        .c_stride = args.y_stride,
                        .c_type = kElementType<T>,
                        .has_bias = args.bias != nullptr,
                        .threads = ComputeThreads()},
              .operands = {.a = args.x, .b = args.weight, .bias = args.bias, .c = args.y},
              .packed = packed != nullptr ? packed->forward : nullptr,
              .is_current = packed != nullptr ? &packed->forward_is_current : nullptr});
}

template <typename T>
absl::Status LinearBackwardInput(LinearCache& cache, const LinearBackwardInputArgs<T>& args) {
  CheckSizes(args.N, args.K, args.M);
  CHECK_GE(args.dy_stride, args.M);
  CHECK_GE(args.dx_stride, args.K);
  PackedWeight* packed = args.packed;
  return Run(cache.state(),
             {.shape = {.rows = args.N,
                        .b = BackwardInputLayout(args.K, args.M, kElementType<T>),
                        .a_stride = args.dy_stride,
                        .c_stride = args.dx_stride,
                        .c_type = kElementType<T>,
                        .add_to_c = args.accumulate,
                        .threads = ComputeThreads()},
              .operands = {.a = args.dy, .b = args.weight, .bias = nullptr, .c = args.dx},
              .packed = packed != nullptr ? packed->backward_input : nullptr,
              .is_current = packed != nullptr ? &packed->backward_input_is_current : nullptr});
}

template <typename T>
absl::Status LinearLogits(LinearCache& cache, const LinearLogitsArgs<T>& args) {
  CheckSizes(args.N, args.K, args.M);
  const int64_t x_stride = args.x_stride == 0 ? args.K : args.x_stride;
  const int64_t logits_stride = args.logits_stride == 0 ? args.M : args.logits_stride;
  CHECK_GE(x_stride, args.K);
  CHECK_GE(logits_stride, args.M);
  PackedWeight* packed = args.packed;
  return Run(cache.state(),
             {.shape = {.rows = args.N,
                        .b = ForwardLayout(args.K, args.M, kElementType<T>),
                        .a_stride = x_stride,
                        .c_stride = logits_stride,
                        .c_type = ElementType::kFloat,
                        .has_bias = args.bias != nullptr,
                        .threads = ComputeThreads()},
              .operands = {.a = args.x, .b = args.weight, .bias = args.bias, .c = args.logits},
              .packed = packed != nullptr ? packed->forward : nullptr,
              .is_current = packed != nullptr ? &packed->forward_is_current : nullptr});
}

template int64_t PackedForwardBytes<float>(LinearCache&, int64_t, int64_t, int64_t);
template int64_t PackedForwardBytes<bf16>(LinearCache&, int64_t, int64_t, int64_t);
template int64_t PackedBackwardInputBytes<float>(LinearCache&, int64_t, int64_t, int64_t);
template int64_t PackedBackwardInputBytes<bf16>(LinearCache&, int64_t, int64_t, int64_t);
template absl::Status LinearForward(LinearCache&, const LinearForwardArgs<float>&);
template absl::Status LinearForward(LinearCache&, const LinearForwardArgs<bf16>&);
template absl::Status LinearBackwardInput(LinearCache&, const LinearBackwardInputArgs<float>&);
template absl::Status LinearBackwardInput(LinearCache&, const LinearBackwardInputArgs<bf16>&);
template absl::Status LinearLogits(LinearCache&, const LinearLogitsArgs<float>&);
template absl::Status LinearLogits(LinearCache&, const LinearLogitsArgs<bf16>&);

}  // namespace sluice::cpu
