// One product of a linear layer as cuBLASLt is asked for it. The library's matrices lie by columns,
// ours by rows, so it sees the transpose of each: y = x · Wᵀ is asked for as yᵀ = W · xᵀ, where W's
// memory is Wᵀ by columns.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <map>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/fp16.h"
#include "kernels/api/linear.h"

namespace sluice::cuda {

template <typename T>
constexpr cudaDataType_t kLibraryType = std::is_same_v<T, float>  ? CUDA_R_32F
                                        : std::is_same_v<T, bf16> ? CUDA_R_16BF
                                                                  : CUDA_R_16F;

// A matrix by columns, as the library describes it.
struct Operand {
  const void* data;
  cudaDataType_t type;
  int64_t rows, columns, stride;  // stride: elements from one column to the next
  bool transposed = false;
};

// What the library does with a product's sums, and bias, before they are stored.
enum class Epilogue {
  kNone,
  kRelu,          // c = max(sums, 0); NaN may become 0
  kGeluTanh,      // auxiliary = sums, c = gelu_tanh(sums)
  kGeluGradient,  // c = sums ∘ gelu_tanh'(auxiliary)
};

// c = epilogue(op(a) · op(b) (+ c) (+ bias, one for each row of c)).
struct Product {
  Operand a, b, c;
  bool accumulate = false;     // with kNone only
  const void* bias = nullptr;  // of c's type, or null; not with kGeluGradient
  Epilogue epilogue = Epilogue::kNone;
  const void* auxiliary = nullptr;  // c's shape and type; null where the epilogue has none
  int64_t auxiliary_stride = 0;
};

// Whether the library takes a matrix of these rows, without gaps, as an auxiliary one: its leading
// dimension has to be a multiple of 8 elements. That its address be a multiple of 16 bytes is what
// its kernels for vectors need.
inline bool CanBeAuxiliary(const void* data, int64_t rows) {
  return rows % 8 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <typename T>
Product ForwardProduct(const LinearForwardArgs<T>& args) {
  return {.a = {args.weight, kLibraryType<T>, args.K, args.M, args.K, /*transposed=*/true},
          .b = {args.x, kLibraryType<T>, args.K, args.N, args.x_stride},
          .c = {args.y, kLibraryType<T>, args.M, args.N, args.y_stride},
          .bias = args.bias};
}
template <typename T>
Product BackwardInputProduct(const LinearBackwardInputArgs<T>& args) {
  return {.a = {args.weight, kLibraryType<T>, args.K, args.M, args.K},
          .b = {args.dy, kLibraryType<T>, args.M, args.N, args.dy_stride},
          .c = {args.dx, kLibraryType<T>, args.K, args.N, args.dx_stride},
          .accumulate = args.accumulate};
}

// Everything that decides which algorithm is chosen.
using ProductKey = std::array<int64_t, 24>;

struct LinearContext::State {
  // The library's objects for one product.
  struct Description {
    cublasLtMatmulDesc_t matmul = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    bool supported = false;  // the library has an algorithm:
    cublasLtMatmulAlgo_t algorithm = {};
    size_t workspace_bytes = 0;
  };

  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<ProductKey, Description> descriptions;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  // False, and nothing is launched, where the library has no algorithm for the product. It is asked
  // once a product.
  absl::StatusOr<bool> RunIfSupported(const Product& product, Stream stream);
  // kDevice where it has none.
  absl::Status Run(const Product& product, Stream stream);

 private:
  absl::StatusOr<const Description*> Find(const Product& product);
  absl::Status ChooseAlgorithm(const Product& product, Description& description) const;
};

}  // namespace sluice::cuda
