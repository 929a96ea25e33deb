// Linear layers on cuBLASLt. The library's matrices lie by columns, ours by rows, so it sees the
// transpose of each: y = x · Wᵀ is asked for as yᵀ = W · xᵀ, where W's memory is Wᵀ by columns.
#include "kernels/api/linear.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/fp16.h"
#include "core/status.h"
#include "kernels/cuda/linear_bias.h"

namespace sluice::cuda {
namespace {

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

// c = op(a) · op(b) (+ c) (+ bias, one for each row of c).
struct Product {
  Operand a, b, c;
  bool accumulate = false;
  const void* bias = nullptr;  // of c's type, or null
};

// Largest power of two, up to 256, that the address is a multiple of.
uint32_t AlignmentOf(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

// Everything that decides which algorithm is chosen.
using ProductKey = std::array<int64_t, 21>;

ProductKey KeyOf(const Product& product) {
  ProductKey key = {};
  size_t at = 0;
  for (const Operand* operand : {&product.a, &product.b, &product.c}) {
    for (const int64_t value :
         {int64_t{operand->type}, operand->rows, operand->columns, operand->stride,
          int64_t{operand->transposed}, int64_t{AlignmentOf(operand->data)}}) {
      key[at++] = value;
    }
  }
  key[at++] = product.accumulate;
  key[at++] = product.bias != nullptr;
  key[at++] = AlignmentOf(product.bias);
  return key;
}

absl::Status Check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return DeviceError("cuBLASLt failed", what, cublasLtGetStatusString(status));
}

}  // namespace

struct LinearContext::State {
  // The library's objects for one product.
  struct Description {
    cublasLtMatmulDesc_t matmul = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm = {};
    size_t workspace_bytes = 0;
  };

  cublasLtHandle_t handle = nullptr;
  void* workspace = nullptr;
  std::map<ProductKey, Description> descriptions;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    for (auto& [key, description] : descriptions) Destroy(description);
    if (handle != nullptr) cublasLtDestroy(handle);
  }

  absl::StatusOr<const Description*> Find(const Product& product);
  absl::Status Run(const Product& product, Stream stream);

 private:
  static void Destroy(const Description& description) {
    if (description.matmul != nullptr) cublasLtMatmulDescDestroy(description.matmul);
    for (cublasLtMatrixLayout_t layout : {description.a, description.b, description.c}) {
      if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
    }
  }
  static absl::Status Describe(const Product& product, Description& description);
  absl::Status ChooseAlgorithm(const Product& product, Description& description) const;
};

namespace {

absl::Status DescribeOperand(const Operand& operand, cublasLtMatrixLayout_t* layout) {
  return Check(cublasLtMatrixLayoutCreate(layout, operand.type, operand.rows, operand.columns,
                                          operand.stride),
               "cublasLtMatrixLayoutCreate");
}

template <typename Value>
absl::Status SetAttribute(cublasLtMatmulDesc_t matmul, cublasLtMatmulDescAttributes_t attribute,
                          const Value& value) {
  return Check(cublasLtMatmulDescSetAttribute(matmul, attribute, &value, sizeof(value)),
               "cublasLtMatmulDescSetAttribute");
}

template <typename Value>
absl::Status SetAttribute(cublasLtMatmulPreference_t preference,
                          cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  return Check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
               "cublasLtMatmulPreferenceSetAttribute");
}

cublasOperation_t OperationOf(const Operand& operand) {
  return operand.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

}  // namespace

absl::Status LinearContext::State::Describe(const Product& product, Description& description) {
  RETURN_IF_ERROR(
      Check(cublasLtMatmulDescCreate(&description.matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F),
            "cublasLtMatmulDescCreate"));
  RETURN_IF_ERROR(
      SetAttribute(description.matmul, CUBLASLT_MATMUL_DESC_TRANSA, OperationOf(product.a)));
  RETURN_IF_ERROR(
      SetAttribute(description.matmul, CUBLASLT_MATMUL_DESC_TRANSB, OperationOf(product.b)));
  if (product.bias != nullptr) {
    RETURN_IF_ERROR(SetAttribute(description.matmul, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                 cublasLtEpilogue_t{CUBLASLT_EPILOGUE_BIAS}));
    RETURN_IF_ERROR(
        SetAttribute(description.matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias));
  }
  RETURN_IF_ERROR(DescribeOperand(product.a, &description.a));
  RETURN_IF_ERROR(DescribeOperand(product.b, &description.b));
  return DescribeOperand(product.c, &description.c);
}

absl::Status LinearContext::State::ChooseAlgorithm(const Product& product,
                                                   Description& description) const {
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_ERROR(
      Check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate"));
  const uint32_t alignment_c = AlignmentOf(product.c.data);
  const uint32_t alignment_d =
      product.bias == nullptr ? alignment_c : std::min(alignment_c, AlignmentOf(product.bias));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  const auto choose = [&]() -> absl::Status {
    RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                 static_cast<uint64_t>(kLinearWorkspaceBytes)));
    RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                 AlignmentOf(product.a.data)));
    RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                 AlignmentOf(product.b.data)));
    RETURN_IF_ERROR(
        SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_c));
    RETURN_IF_ERROR(
        SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_d));
    return Check(
        cublasLtMatmulAlgoGetHeuristic(handle, description.matmul, description.a, description.b,
                                       description.c, description.c, preference, 1, &found, &count),
        "cublasLtMatmulAlgoGetHeuristic");
  };
  const absl::Status status = choose();
  cublasLtMatmulPreferenceDestroy(preference);
  RETURN_IF_ERROR(status);
  if (count == 0) {
    return DeviceError("cuBLASLt has no algorithm for a product", "",
                       absl::StrCat(product.c.rows, " x ", product.c.columns));
  }
  description.algorithm = found.algo;
  description.workspace_bytes = found.workspaceSize;
  return absl::OkStatus();
}

absl::StatusOr<const LinearContext::State::Description*> LinearContext::State::Find(
    const Product& product) {
  const ProductKey key = KeyOf(product);
  const auto known = descriptions.find(key);
  if (known != descriptions.end()) return &known->second;
  if (handle == nullptr) RETURN_IF_ERROR(Check(cublasLtCreate(&handle), "cublasLtCreate"));
  Description description;
  absl::Status status = Describe(product, description);
  if (status.ok()) status = ChooseAlgorithm(product, description);
  if (!status.ok()) {
    Destroy(description);
    return status;
  }
  return &(descriptions[key] = description);
}

absl::Status LinearContext::State::Run(const Product& product, Stream stream) {
  CHECK(workspace != nullptr) << "SetWorkspace comes first";
  ASSIGN_OR_RETURN(const Description* description, Find(product));
  if (product.bias != nullptr) {  // layers of one shape share a description
    RETURN_IF_ERROR(
        SetAttribute(description->matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias));
  }
  const float alpha = 1, beta = product.accumulate ? 1 : 0;
  void* c = const_cast<void*>(product.c.data);
  return Check(
      cublasLtMatmul(handle, description->matmul, &alpha, product.a.data, description->a,
                     product.b.data, description->b, &beta, c, description->c, c, description->c,
                     &description->algorithm, workspace, description->workspace_bytes, stream),
      "cublasLtMatmul");
}

LinearContext::LinearContext() : state_(std::make_unique<State>()) {}
LinearContext::~LinearContext() = default;
void LinearContext::SetWorkspace(void* workspace) { state_->workspace = workspace; }
int64_t LinearContext::product_count() const { return std::ssize(state_->descriptions); }

namespace {

// What both products with x on the left have.
template <typename T, typename Args>
Product TimesWeight(const Args& args) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.x_stride, args.K);
  return {.a = {args.weight, kLibraryType<T>, args.K, args.M, args.K, /*transposed=*/true},
          .b = {args.x, kLibraryType<T>, args.K, args.N, args.x_stride},
          .c = {}};
}

}  // namespace

template <typename T>
absl::Status LinearForward(LinearContext& context, const LinearForwardArgs<T>& args,
                           Stream stream) {
  CHECK_GE(args.y_stride, args.M);
  Product product = TimesWeight<T>(args);
  if (args.N == 0) return absl::OkStatus();
  product.c = {args.y, kLibraryType<T>, args.M, args.N, args.y_stride};
  product.bias = args.bias;
  return context.state().Run(product, stream);
}

template <typename T>
absl::Status LinearLogits(LinearContext& context, const LinearLogitsArgs<T>& args, Stream stream) {
  const int64_t x_stride = args.x_stride == 0 ? args.K : args.x_stride;
  const int64_t logits_stride = args.logits_stride == 0 ? args.M : args.logits_stride;
  LinearLogitsArgs<T> strided = args;
  strided.x_stride = x_stride;
  CHECK_GE(logits_stride, args.M);
  Product product = TimesWeight<T>(strided);
  if (args.N == 0) return absl::OkStatus();
  product.c = {args.logits, CUDA_R_32F, args.M, args.N, logits_stride};
  if constexpr (std::is_same_v<T, float>) {
    product.bias = args.bias;
  } else if (args.bias != nullptr) {
    RETURN_IF_ERROR(SpreadBias<T>(
        {.bias = args.bias, .rows = args.logits, .N = args.N, .M = args.M, .stride = logits_stride},
        stream));
    product.accumulate = true;
  }
  return context.state().Run(product, stream);
}

template <typename T>
absl::Status LinearBackwardInput(LinearContext& context, const LinearBackwardInputArgs<T>& args,
                                 Stream stream) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.dy_stride, args.M);
  CHECK_GE(args.dx_stride, args.K);
  if (args.N == 0) return absl::OkStatus();
  return context.state().Run({.a = {args.weight, kLibraryType<T>, args.K, args.M, args.K},
                              .b = {args.dy, kLibraryType<T>, args.M, args.N, args.dy_stride},
                              .c = {args.dx, kLibraryType<T>, args.K, args.N, args.dx_stride},
                              .accumulate = args.accumulate},
                             stream);
}

template <typename T>
absl::Status LinearBackwardWeight(LinearContext& context, const LinearBackwardWeightArgs<T>& args,
                                  Stream stream) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.dy_stride, args.M);
  if (args.N == 0) return absl::OkStatus();
  RETURN_IF_ERROR(context.state().Run(
      {.a = {args.x, kLibraryType<T>, args.K, args.N, args.x_stride},
       .b = {args.dy, kLibraryType<T>, args.M, args.N, args.dy_stride, /*transposed=*/true},
       .c = {args.dweight, CUDA_R_32F, args.K, args.M, args.K},
       .accumulate = true},
      stream));
  if (args.dbias == nullptr) return absl::OkStatus();
  return AddColumnSums<T>({.matrix = args.dy,
                           .sums = args.dbias,
                           .N = args.N,
                           .M = args.M,
                           .stride = args.dy_stride,
                           .workspace = static_cast<float*>(context.state().workspace),
                           .workspace_values = kLinearWorkspaceBytes / 4},
                          stream);
}

#define SLUICE_INSTANTIATE_LINEAR(T)                                                             \
  template absl::Status LinearForward(LinearContext&, const LinearForwardArgs<T>&, Stream);      \
  template absl::Status LinearLogits(LinearContext&, const LinearLogitsArgs<T>&, Stream);        \
  template absl::Status LinearBackwardInput(LinearContext&, const LinearBackwardInputArgs<T>&,   \
                                            Stream);                                             \
  template absl::Status LinearBackwardWeight(LinearContext&, const LinearBackwardWeightArgs<T>&, \
                                             Stream)
SLUICE_INSTANTIATE_LINEAR(float);
SLUICE_INSTANTIATE_LINEAR(bf16);
SLUICE_INSTANTIATE_LINEAR(fp16);
#undef SLUICE_INSTANTIATE_LINEAR

}  // namespace sluice::cuda
