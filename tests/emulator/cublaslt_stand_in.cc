// cuBLASLt on the emulator: exactly the calls that kernels/cuda/linear.cc makes. Each checks what
// the library documents for it and stops the program with a sentence where the library would return
// an error, fall back to something slow, or compute nonsense; the product itself is naive, in fp32.
#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "core/bf16.h"
#include "core/fp16.h"
#include "emulator/library_access.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

constexpr size_t kWorkspaceOfAlgorithm = 4096;  // so that a missing workspace shows

struct Layout {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t stride;
};
struct Description {
  cublasOperation_t operation_a = CUBLAS_OP_N, operation_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
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

size_t SizeOf(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

template <typename Value>
Value ValueOf(const void* buffer, size_t bytes, const char* attribute) {
  if (bytes != sizeof(Value)) {
    FailOnHost("cuBLASLt: attribute %s has %zu bytes, not %zu", attribute, sizeof(Value), bytes);
  }
  Value value;
  std::memcpy(&value, buffer, bytes);
  return value;
}

// One call's matrices, checked.
struct Problem {
  const Description& description;
  const Layout &a, &b, &c, &d;
  uint64_t m, n, k;

  uint64_t Hash() const {
    uint64_t hash = 1469598103934665603;
    const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
    for (const Layout* layout : {&a, &b, &c, &d}) {
      mix(layout->type), mix(layout->rows), mix(layout->columns);
      mix(static_cast<uint64_t>(layout->stride));
    }
    mix(description.operation_a), mix(description.operation_b), mix(description.epilogue);
    return hash;
  }
};

void CheckTypes(const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool inputs =
      a.type == b.type && (a.type == CUDA_R_32F || a.type == CUDA_R_16BF || a.type == CUDA_R_16F);
  const bool outputs = c.type == d.type && (c.type == a.type || c.type == CUDA_R_32F);
  if (!inputs || !outputs) {
    FailOnHost("cuBLASLt: no product in fp32 of types %d and %d to %d and %d", a.type, b.type,
               c.type, d.type);
  }
}

Problem MakeProblem(cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  Problem problem = {.description = Known<Description>(description, "a matmul's description"),
                     .a = Known<Layout>(a, "A's layout"),
                     .b = Known<Layout>(b, "B's layout"),
                     .c = Known<Layout>(c, "C's layout"),
                     .d = Known<Layout>(d, "D's layout"),
                     .m = 0,
                     .n = 0,
                     .k = 0};
  const bool a_transposed = problem.description.operation_a == CUBLAS_OP_T;
  const bool b_transposed = problem.description.operation_b == CUBLAS_OP_T;
  problem.m = a_transposed ? problem.a.columns : problem.a.rows;
  problem.k = a_transposed ? problem.a.rows : problem.a.columns;
  problem.n = b_transposed ? problem.b.rows : problem.b.columns;
  const uint64_t k = b_transposed ? problem.b.columns : problem.b.rows;
  CheckTypes(problem.a, problem.b, problem.c, problem.d);
  if (k != problem.k || problem.c.rows != problem.m || problem.c.columns != problem.n) {
    FailOnHost("cuBLASLt: op(A) is %lu x %lu, op(B) %lu x %lu, C %lu x %lu", problem.m, problem.k,
               k, problem.n, problem.c.rows, problem.c.columns);
  }
  if (problem.c.rows != problem.d.rows || problem.c.columns != problem.d.columns) {
    FailOnHost("cuBLASLt: C and D have different shapes");
  }
  if (problem.m == 0 || problem.n == 0 || problem.k == 0) {
    FailOnHost("cuBLASLt: an empty product: %lu x %lu x %lu", problem.m, problem.n, problem.k);
  }
  return problem;
}

uint32_t AlignmentOf(const void* address) {
  uint32_t alignment = 256;
  while (reinterpret_cast<uintptr_t>(address) % alignment != 0) alignment /= 2;
  return alignment;
}

float Widen(const u8* memory, cudaDataType type, size_t i) {
  if (type == CUDA_R_32F) return reinterpret_cast<const float*>(memory)[i];
  if (type == CUDA_R_16BF) return static_cast<float>(reinterpret_cast<const bf16*>(memory)[i]);
  return static_cast<float>(reinterpret_cast<const fp16*>(memory)[i]);
}
void Store(float value, u8* memory, cudaDataType type, size_t i) {
  if (type == CUDA_R_32F) {
    reinterpret_cast<float*>(memory)[i] = value;
  } else if (type == CUDA_R_16BF) {
    reinterpret_cast<bf16*>(memory)[i] = bf16(value);
  } else {
    reinterpret_cast<fp16*>(memory)[i] = fp16(value);
  }
}

// op(matrix) by columns without gaps, widened. Only the columns' elements are touched.
std::vector<float> Read(const Task& task, const void* matrix, const Layout& layout, bool transposed,
                        const char* what) {
  std::vector<float> values(layout.rows * layout.columns);
  for (uint64_t column = 0; column < layout.columns; ++column) {
    const auto* begin = static_cast<const u8*>(matrix) +
                        column * static_cast<uint64_t>(layout.stride) * SizeOf(layout.type);
    const u8* memory =
        ReachFromLibrary(task, begin, layout.rows * SizeOf(layout.type), Access::kRead, what);
    for (uint64_t row = 0; row < layout.rows; ++row) {
      const uint64_t at = transposed ? row * layout.columns + column : column * layout.rows + row;
      values[at] = Widen(memory, layout.type, row);
    }
  }
  return values;
}

struct Pointers {
  const void *a, *b, *c;
  void* d;
  float alpha, beta;
};

void Multiply(const Task& task, const Problem& problem, const Pointers& at) {
  const uint64_t m = problem.m, n = problem.n, k = problem.k;
  const std::vector<float> a =
      Read(task, at.a, problem.a, problem.description.operation_a == CUBLAS_OP_T, "A");
  const std::vector<float> b =
      Read(task, at.b, problem.b, problem.description.operation_b == CUBLAS_OP_T, "B");
  std::vector<float> c;
  if (at.beta != 0) c = Read(task, at.c, problem.c, false, "C");
  std::vector<float> bias(m);
  if (problem.description.epilogue == CUBLASLT_EPILOGUE_BIAS) {
    const u8* memory = ReachFromLibrary(task, problem.description.bias, m * SizeOf(problem.d.type),
                                        Access::kRead, "the bias");
    for (uint64_t i = 0; i < m; ++i) bias[i] = Widen(memory, problem.d.type, i);
  }
  std::vector<float> sums(m);
  for (uint64_t j = 0; j < n; ++j) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (uint64_t p = 0; p < k; ++p) {
      const float factor = b[j * k + p];
      for (uint64_t i = 0; i < m; ++i) sums[i] += a[p * m + i] * factor;
    }
    auto* begin = static_cast<u8*>(at.d) +
                  j * static_cast<uint64_t>(problem.d.stride) * SizeOf(problem.d.type);
    u8* memory = ReachFromLibrary(task, begin, m * SizeOf(problem.d.type), Access::kWrite, "D");
    for (uint64_t i = 0; i < m; ++i) {
      float value = at.alpha * sums[i] + bias[i];
      if (at.beta != 0) value += at.beta * c[j * m + i];
      Store(value, memory, problem.d.type, i);
    }
  }
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
  if (problem.description.epilogue == CUBLASLT_EPILOGUE_BIAS &&
      AlignmentOf(problem.description.bias) < algorithm.alignment[3]) {
    FailOnHost("cublasLtMatmul: the bias is less aligned than D, as the algorithm was chosen for");
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
      if (known.epilogue != CUBLASLT_EPILOGUE_DEFAULT && known.epilogue != CUBLASLT_EPILOGUE_BIAS) {
        FailOnHost("cuBLASLt: epilogue %d is not stood in for", known.epilogue);
      }
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      known.bias = ValueOf<const void*>(buffer, bytes, "BIAS_POINTER");
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
  const Problem problem = MakeProblem(description, a, b, c, d);
  const auto& known = Known<Preference>(preference, "a preference");
  Algorithm algorithm = {.mark = kMark,
                         .problem = problem.Hash(),
                         .alignment = {},
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
  const Problem problem = MakeProblem(description, a_layout, b_layout, c_layout, d_layout);
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
