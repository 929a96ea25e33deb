#include "kernels/cuda/linear_product.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::cuda {
namespace {

// Largest power of two, up to 256, that the address is a multiple of.
uint32_t AlignmentOf(const void* data) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

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
  key[at++] = static_cast<int64_t>(product.epilogue);
  key[at++] = AlignmentOf(product.auxiliary);
  key[at++] = product.auxiliary_stride;
  return key;
}

absl::Status Check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return DeviceError("cuBLASLt failed", what, cublasLtGetStatusString(status));
}

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

cublasLtEpilogue_t LibraryEpilogue(const Product& product) {
  const bool bias = product.bias != nullptr;
  switch (product.epilogue) {
    case Epilogue::kRelu:
      return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    case Epilogue::kGeluTanh:
      return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::kGeluGradient:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::kNone:
      break;
  }
  return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// Where the vectors and matrices beside a, b and c lie: layers of one shape share a description.
absl::Status SetPointers(const Product& product, cublasLtMatmulDesc_t matmul) {
  if (product.bias != nullptr) {
    RETURN_IF_ERROR(SetAttribute(matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias));
  }
  if (product.auxiliary != nullptr) {
    RETURN_IF_ERROR(
        SetAttribute(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, product.auxiliary));
  }
  return absl::OkStatus();
}

absl::Status Describe(const Product& product, LinearContext::State::Description& description) {
  cublasLtMatmulDesc_t& matmul = description.matmul;
  RETURN_IF_ERROR(Check(cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                        "cublasLtMatmulDescCreate"));
  RETURN_IF_ERROR(SetAttribute(matmul, CUBLASLT_MATMUL_DESC_TRANSA, OperationOf(product.a)));
  RETURN_IF_ERROR(SetAttribute(matmul, CUBLASLT_MATMUL_DESC_TRANSB, OperationOf(product.b)));
  RETURN_IF_ERROR(SetAttribute(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, LibraryEpilogue(product)));
  if (product.auxiliary != nullptr) {  // of c's type, the library's default
    RETURN_IF_ERROR(
        SetAttribute(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, product.auxiliary_stride));
  }
  RETURN_IF_ERROR(SetPointers(product, matmul));  // how they are aligned matters to the choice
  RETURN_IF_ERROR(DescribeOperand(product.a, &description.a));
  RETURN_IF_ERROR(DescribeOperand(product.b, &description.b));
  return DescribeOperand(product.c, &description.c);
}

void Destroy(const LinearContext::State::Description& description) {
  if (description.matmul != nullptr) cublasLtMatmulDescDestroy(description.matmul);
  for (cublasLtMatrixLayout_t layout : {description.a, description.b, description.c}) {
    if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
  }
}

absl::Status DescribePreference(const Product& product, cublasLtMatmulPreference_t preference) {
  const uint32_t alignment_c = AlignmentOf(product.c.data);
  const uint32_t alignment_d =
      product.bias == nullptr ? alignment_c : std::min(alignment_c, AlignmentOf(product.bias));
  RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                               static_cast<uint64_t>(kLinearWorkspaceBytes)));
  RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                               AlignmentOf(product.a.data)));
  RETURN_IF_ERROR(SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               AlignmentOf(product.b.data)));
  RETURN_IF_ERROR(
      SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_c));
  return SetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_d);
}

}  // namespace

LinearContext::State::~State() {
  for (auto& [key, description] : descriptions) Destroy(description);
  if (handle != nullptr) cublasLtDestroy(handle);
}

absl::Status LinearContext::State::ChooseAlgorithm(const Product& product,
                                                   Description& description) const {
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_ERROR(
      Check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate"));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  const auto choose = [&]() -> absl::Status {
    RETURN_IF_ERROR(DescribePreference(product, preference));
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle, description.matmul, description.a, description.b,
                                       description.c, description.c, preference, 1, &found, &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return absl::OkStatus();  // count is 0
    return Check(status, "cublasLtMatmulAlgoGetHeuristic");
  };
  const absl::Status status = choose();
  cublasLtMatmulPreferenceDestroy(preference);
  RETURN_IF_ERROR(status);
  description.supported = count > 0;
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

absl::StatusOr<bool> LinearContext::State::RunIfSupported(const Product& product, Stream stream) {
  CHECK(workspace != nullptr) << "SetWorkspace comes first";
  ASSIGN_OR_RETURN(const Description* description, Find(product));
  if (!description->supported) return false;
  RETURN_IF_ERROR(SetPointers(product, description->matmul));
  const float alpha = 1, beta = product.accumulate ? 1 : 0;
  void* c = const_cast<void*>(product.c.data);
  RETURN_IF_ERROR(Check(
      cublasLtMatmul(handle, description->matmul, &alpha, product.a.data, description->a,
                     product.b.data, description->b, &beta, c, description->c, c, description->c,
                     &description->algorithm, workspace, description->workspace_bytes, stream),
      "cublasLtMatmul"));
  return true;
}

absl::Status LinearContext::State::Run(const Product& product, Stream stream) {
  ASSIGN_OR_RETURN(const bool done, RunIfSupported(product, stream));
  if (done) return absl::OkStatus();
  return DeviceError("cuBLASLt has no algorithm for a product", "",
                     absl::StrCat(product.c.rows, " x ", product.c.columns));
}

}  // namespace sluice::cuda
