// cuBLASLt on the emulator: exactly the calls that kernels/cuda/linear_product.cc makes. Each
// checks what the library documents for it and stops the program with a sentence where the library
// would return an error, fall back to something slow, or compute nonsense.
//
// SLUICE_EMULATOR_CUBLASLT_REFUSE: no algorithm is found for a product with an activation.
// `status`: said by CUBLAS_STATUS_NOT_SUPPORTED; anything else: by finding none.
#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "emulator/cublaslt_stand_in_product.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

constexpr size_t kWorkspaceOfAlgorithm = 4096;  // so that a missing workspace shows

struct Preference {
  uint64_t most_workspace = 0;                   // the library's default
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D; the library's default
};
// What a choice of algorithm was made for; lies in cublasLtMatmulAlgo_t, which users do not look
// into.
struct Algorithm {
  uint64_t mark;
  uint64_t problem;  // hash
  uint32_t alignment[4];
  uint32_t bias_alignment, auxiliary_alignment;  // as the pointers of the choice were
  uint64_t workspace_bytes;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr uint64_t kMark = 0x736c756963653031;

// Objects that exist: what is destroyed, or was never made, is not used.
std::set<const void*>& Objects() {
  static std::set<const void*> objects;
  return objects;
}
template <typename T>
T* New(T* object) {
  Objects().insert(object);
  return object;
}
template <typename T>
T& Known(const void* object, const char* what) {
  if (Objects().count(object) == 0) FailOnHost("cuBLASLt: %s does not exist", what);
  return *static_cast<T*>(const_cast<void*>(object));
}
template <typename T>
cublasStatus_t Delete(const void* object, const char* what) {
  T& known = Known<T>(object, what);
  Objects().erase(object);
  delete &known;
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Value>
Value ValueOf(const void* buffer, size_t bytes, const char* attribute) {
  if (bytes != sizeof(Value)) {
    FailOnHost("cuBLASLt: attribute %s has %zu bytes, not %zu", attribute, sizeof(Value), bytes);
  }
  Value value;
  std::memcpy(&value, buffer, bytes);
  return value;
}

Problem KnownProblem(cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                     cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  return MakeProblem(Known<Description>(description, "a matmul's description"),
                     Known<Layout>(a, "A's layout"), Known<Layout>(b, "B's layout"),
                     Known<Layout>(c, "C's layout"), Known<Layout>(d, "D's layout"));
}

// Of the bias and the auxiliary matrix; 0 where the epilogue has none.
std::pair<uint32_t, uint32_t> BesideAlignments(const Description& description) {
  return {description.has_bias() ? AlignmentOf(description.bias) : 0,
          description.has_auxiliary() ? AlignmentOf(description.auxiliary) : 0};
}

void CheckAlgorithm(const Problem& problem, const cublasLtMatmulAlgo_t* algo, const Pointers& at,
                    size_t workspace_bytes) {
  if (algo == nullptr)
    FailOnHost("cublasLtMatmul: without an algorithm, one would be chosen each time");
  Algorithm algorithm;
  std::memcpy(&algorithm, algo, sizeof(algorithm));
  if (algorithm.mark != kMark)
    FailOnHost("cublasLtMatmul: the algorithm is not one that was chosen");
  if (algorithm.problem != problem.Hash()) {
    FailOnHost("cublasLtMatmul: the algorithm was chosen for another product");
  }
  const void* pointers[4] = {at.a, at.b, at.c, at.d};
  for (int i = 0; i < 4; ++i) {
    if (AlignmentOf(pointers[i]) < algorithm.alignment[i]) {
      FailOnHost("cublasLtMatmul: %c, %p, is not %u-byte aligned, as the algorithm was chosen for",
                 "ABCD"[i], pointers[i], algorithm.alignment[i]);
    }
  }
  const auto [bias, auxiliary] = BesideAlignments(problem.description);
  if (bias < algorithm.bias_alignment) {
    FailOnHost(
        "cublasLtMatmul: the bias is not %u-byte aligned, as it was when the algorithm was "
        "chosen",
        algorithm.bias_alignment);
  }
  if (auxiliary < algorithm.auxiliary_alignment) {
    FailOnHost(
        "cublasLtMatmul: AUX is not %u-byte aligned, as it was when the algorithm was chosen",
        algorithm.auxiliary_alignment);
  }
  if (workspace_bytes < algorithm.workspace_bytes) {
    FailOnHost("cublasLtMatmul: the algorithm needs %lu bytes of workspace, not %zu",
               algorithm.workspace_bytes, workspace_bytes);
  }
}

}  // namespace
}  // namespace sluice::emulator

using namespace sluice::emulator;  // NOLINT: these are the library's own names

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(New(new int(0)));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return Delete<int>(handle, "the handle");
}
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "success" : "an error of the library";
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) {
    FailOnHost("cublasLtMatrixLayoutCreate: %lu rows, but columns are %ld apart", rows, stride);
  }
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(New(new Layout{type, rows, columns, stride}));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return Delete<Layout>(layout, "a layout");
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description,
                                        cublasComputeType_t compute, cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) {
    FailOnHost("cublasLtMatmulDescCreate: only products in fp32 are stood in for");
  }
  *description = reinterpret_cast<cublasLtMatmulDesc_t>(New(new Description()));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  return Delete<Description>(description, "a matmul's description");
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* buffer, size_t bytes) {
  auto& known = Known<Description>(description, "a matmul's description");
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      known.operation_a = ValueOf<cublasOperation_t>(buffer, bytes, "TRANSA");
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      known.operation_b = ValueOf<cublasOperation_t>(buffer, bytes, "TRANSB");
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      known.epilogue = ValueOf<cublasLtEpilogue_t>(buffer, bytes, "EPILOGUE");
      CheckEpilogue(known.epilogue);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      known.bias = ValueOf<const void*>(buffer, bytes, "BIAS_POINTER");
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      known.auxiliary = ValueOf<void*>(buffer, bytes, "EPILOGUE_AUX_POINTER");
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      known.auxiliary_stride = ValueOf<int64_t>(buffer, bytes, "EPILOGUE_AUX_LD");
      break;
    default:
      FailOnHost("cuBLASLt: attribute %d of a matmul is not stood in for", attribute);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(New(new Preference()));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return Delete<Preference>(preference, "a preference");
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* buffer, size_t bytes) {
  auto& known = Known<Preference>(preference, "a preference");
  const auto align = [&](int operand) {
    known.alignment[operand] = ValueOf<uint32_t>(buffer, bytes, "MIN_ALIGNMENT");
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      known.most_workspace = ValueOf<uint64_t>(buffer, bytes, "MAX_WORKSPACE_BYTES");
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return align(0);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return align(1);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return align(2);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return align(3);
    default:
      FailOnHost("cuBLASLt: attribute %d of a preference is not stood in for", attribute);
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle,
                                              cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  Known<int>(handle, "the handle");
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem = KnownProblem(description, a, b, c, d);
  const auto& known = Known<Preference>(preference, "a preference");
  *found = 0;
  const char* refuse = std::getenv("SLUICE_EMULATOR_CUBLASLT_REFUSE");
  if (refuse != nullptr && problem.description.has_activation()) {
    return refuse == std::string("status") ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
  }
  const auto [bias_alignment, auxiliary_alignment] = BesideAlignments(problem.description);
  Algorithm algorithm = {.mark = kMark,
                         .problem = problem.Hash(),
                         .alignment = {},
                         .bias_alignment = bias_alignment,
                         .auxiliary_alignment = auxiliary_alignment,
                         .workspace_bytes = std::min(known.most_workspace, kWorkspaceOfAlgorithm)};
  std::copy_n(known.alignment, 4, algorithm.alignment);
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof(algorithm));
  results[0].workspaceSize = algorithm.workspace_bytes;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  Known<int>(handle, "the handle");
  const Problem problem = KnownProblem(description, a_layout, b_layout, c_layout, d_layout);
  if (c == d && c_layout != d_layout)
    FailOnHost("cublasLtMatmul: C is D, but their layouts differ");
  const Pointers at = {a,
                       b,
                       c,
                       d,
                       *static_cast<const float*>(alpha),
                       *static_cast<const float*>(beta)};  // host pointers, the library's default
  CheckAlgorithm(problem, algo, at, workspace_bytes);
  if (AlignmentOf(workspace) < 256) FailOnHost("cublasLtMatmul: workspace is not 256-byte aligned");
  const Task task = BeginTask(stream, "cublasLtMatmul");
  if (workspace_bytes > 0) {
    std::memset(ReachFromLibrary(task, workspace, workspace_bytes, Access::kWrite, "workspace"),
                0xFF, workspace_bytes);
  }
  Multiply(task, problem, at);
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
