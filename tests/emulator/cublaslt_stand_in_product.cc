#include "emulator/cublaslt_stand_in_product.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/bf16.h"
#include "core/fp16.h"
#include "emulator/report.h"

namespace sluice::emulator {
namespace {

size_t SizeOf(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

void CheckTypes(const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool inputs =
      a.type == b.type && (a.type == CUDA_R_32F || a.type == CUDA_R_16BF || a.type == CUDA_R_16F);
  const bool outputs = c.type == d.type && (c.type == a.type || c.type == CUDA_R_32F);
  if (!inputs || !outputs) {
    FailOnHost("cuBLASLt: no product in fp32 of types %d and %d to %d and %d", a.type, b.type,
               c.type, d.type);
  }
}

// Of cublasLt.h: the leading dimension is at least D's rows and, of GELU's input, a multiple of 8.
void CheckAuxiliary(const Problem& problem) {
  const Description& description = problem.description;
  if (description.has_activation() && problem.d.type != problem.a.type) {
    FailOnHost("cuBLASLt: an activation with D of another type than A is not stood in for");
  }
  if (!description.has_auxiliary()) return;
  if (description.auxiliary == nullptr) {
    FailOnHost("cuBLASLt: epilogue %d without EPILOGUE_AUX_POINTER", description.epilogue);
  }
  if (description.auxiliary_stride % 8 != 0 ||
      description.auxiliary_stride < static_cast<int64_t>(problem.m)) {
    FailOnHost("cuBLASLt: EPILOGUE_AUX_LD is %ld, not a multiple of 8 of at least %lu rows",
               description.auxiliary_stride, problem.m);
  }
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

// GELU and its slope as the library has them: the tanh form, without care for its far tail.
constexpr float kRootTwoOverPi = 0.7978845608f;
float GeluTanh(float x) {
  return 0.5f * x * (1 + std::tanh(kRootTwoOverPi * (x + 0.044715f * x * x * x)));
}
float GeluTanhSlope(float x) {
  const float tanh = std::tanh(kRootTwoOverPi * (x + 0.044715f * x * x * x));
  const float inner_slope = kRootTwoOverPi * (1 + 3 * 0.044715f * x * x);
  return 0.5f * (1 + tanh) + 0.5f * x * (1 - tanh * tanh) * inner_slope;
}

// A column of a matrix as it lies in the device's memory.
u8* Column(const Task& task, const void* matrix, const Layout& layout, uint64_t column,
           Access access, const char* what) {
  const auto* begin = static_cast<const u8*>(matrix) +
                      column * static_cast<uint64_t>(layout.stride) * SizeOf(layout.type);
  return ReachFromLibrary(task, begin, layout.rows * SizeOf(layout.type), access, what);
}

// op(matrix) by columns without gaps, widened. Only the columns' elements are touched.
std::vector<float> Read(const Task& task, const void* matrix, const Layout& layout, bool transposed,
                        const char* what) {
  std::vector<float> values(layout.rows * layout.columns);
  for (uint64_t column = 0; column < layout.columns; ++column) {
    const u8* memory = Column(task, matrix, layout, column, Access::kRead, what);
    for (uint64_t row = 0; row < layout.rows; ++row) {
      const uint64_t at = transposed ? row * layout.columns + column : column * layout.rows + row;
      values[at] = Widen(memory, layout.type, row);
    }
  }
  return values;
}

// What the epilogue makes of column j's sums, with beta's part and the bias in them.
void ApplyEpilogue(const Task& task, const Problem& problem, uint64_t j, std::vector<float>& sums) {
  const Description& description = problem.description;
  const cudaDataType type = problem.d.type;
  if ((description.epilogue & CUBLASLT_EPILOGUE_RELU) != 0) {
    for (float& value : sums) value = value > 0 ? value : 0;  // NaN, too, becomes 0
  }
  if (!description.has_auxiliary()) return;
  const Layout layout = {type, problem.m, problem.n, description.auxiliary_stride};
  if (description.epilogue == CUBLASLT_EPILOGUE_DGELU) {
    const u8* input = Column(task, description.auxiliary, layout, j, Access::kRead, "AUX");
    for (uint64_t i = 0; i < problem.m; ++i) sums[i] *= GeluTanhSlope(Widen(input, type, i));
    return;
  }
  u8* input = Column(task, description.auxiliary, layout, j, Access::kWrite, "AUX");
  for (uint64_t i = 0; i < problem.m; ++i) {
    Store(sums[i], input, type, i);
    sums[i] = GeluTanh(sums[i]);
  }
}

}  // namespace

void CheckEpilogue(cublasLtEpilogue_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_RELU:
    case CUBLASLT_EPILOGUE_RELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
      return;
    default:
      FailOnHost("cuBLASLt: epilogue %d is not stood in for", epilogue);
  }
}

uint64_t Problem::Hash() const {
  uint64_t hash = 1469598103934665603;
  const auto mix = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  for (const Layout* layout : {&a, &b, &c, &d}) {
    mix(layout->type), mix(layout->rows), mix(layout->columns);
    mix(static_cast<uint64_t>(layout->stride));
  }
  mix(description.operation_a), mix(description.operation_b), mix(description.epilogue);
  mix(static_cast<uint64_t>(description.has_auxiliary() ? description.auxiliary_stride : 0));
  return hash;
}

Problem MakeProblem(const Description& description, const Layout& a, const Layout& b,
                    const Layout& c, const Layout& d) {
  const bool a_transposed = description.operation_a == CUBLAS_OP_T;
  const bool b_transposed = description.operation_b == CUBLAS_OP_T;
  const Problem problem = {.description = description,
                           .a = a,
                           .b = b,
                           .c = c,
                           .d = d,
                           .m = a_transposed ? a.columns : a.rows,
                           .n = b_transposed ? b.rows : b.columns,
                           .k = a_transposed ? a.rows : a.columns};
  const uint64_t k = b_transposed ? b.columns : b.rows;
  CheckTypes(a, b, c, d);
  if (k != problem.k || c.rows != problem.m || c.columns != problem.n) {
    FailOnHost("cuBLASLt: op(A) is %lu x %lu, op(B) %lu x %lu, C %lu x %lu", problem.m, problem.k,
               k, problem.n, c.rows, c.columns);
  }
  if (c.rows != d.rows || c.columns != d.columns) {
    FailOnHost("cuBLASLt: C and D have different shapes");
  }
  if (problem.m == 0 || problem.n == 0 || problem.k == 0) {
    FailOnHost("cuBLASLt: an empty product: %lu x %lu x %lu", problem.m, problem.n, problem.k);
  }
  CheckAuxiliary(problem);
  return problem;
}

uint32_t AlignmentOf(const void* address) {
  uint32_t alignment = 256;
  while (reinterpret_cast<uintptr_t>(address) % alignment != 0) alignment /= 2;
  return alignment;
}

void Multiply(const Task& task, const Problem& problem, const Pointers& at) {
  const uint64_t m = problem.m, n = problem.n, k = problem.k;
  const Description& description = problem.description;
  if (at.beta != 0 && description.has_activation()) {
    FailOnHost("cublasLtMatmul: beta is %g with an activation: not stood in for", at.beta);
  }
  const std::vector<float> a =
      Read(task, at.a, problem.a, description.operation_a == CUBLAS_OP_T, "A");
  const std::vector<float> b =
      Read(task, at.b, problem.b, description.operation_b == CUBLAS_OP_T, "B");
  std::vector<float> c;
  if (at.beta != 0) c = Read(task, at.c, problem.c, false, "C");
  std::vector<float> bias(m);
  if (description.has_bias()) {
    const Layout layout = {problem.d.type, m, 1, static_cast<int64_t>(m)};
    bias = Read(task, description.bias, layout, false, "the bias");
  }
  std::vector<float> sums(m);
  for (uint64_t j = 0; j < n; ++j) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (uint64_t p = 0; p < k; ++p) {
      const float factor = b[j * k + p];
      for (uint64_t i = 0; i < m; ++i) sums[i] += a[p * m + i] * factor;
    }
    for (uint64_t i = 0; i < m; ++i) {
      sums[i] = at.alpha * sums[i] + bias[i];
      if (at.beta != 0) sums[i] += at.beta * c[j * m + i];
    }
    ApplyEpilogue(task, problem, j, sums);
    u8* memory = Column(task, at.d, problem.d, j, Access::kWrite, "D");
    for (uint64_t i = 0; i < m; ++i) Store(sums[i], memory, problem.d.type, i);
  }
}

}  // namespace sluice::emulator
