// The product that a call of cuBLASLt's stand-in describes: what the library documents for it,
// checked, and computed in a naive way, in fp32.
#pragma once

#include <cublasLt.h>

#include <cstdint>

#include "emulator/library_access.h"

namespace sluice::emulator {

struct Layout {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t stride;
};
struct Description {
  cublasOperation_t operation_a = CUBLAS_OP_N, operation_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  void* auxiliary = nullptr;
  int64_t auxiliary_stride = 0;

  bool has_bias() const { return (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
  bool has_auxiliary() const { return (epilogue & 128) != 0; }  // as cublasLt.h composes them
  bool has_activation() const {
    return epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS;
  }
};

// Stops the program for an epilogue that is not stood in for.
void CheckEpilogue(cublasLtEpilogue_t epilogue);

// One call's matrices.
struct Problem {
  const Description& description;
  const Layout &a, &b, &c, &d;
  uint64_t m, n, k;

  uint64_t Hash() const;
};
// Stops the program where they do not fit together.
Problem MakeProblem(const Description& description, const Layout& a, const Layout& b,
                    const Layout& c, const Layout& d);

// Largest power of two, up to 256, that the address is a multiple of.
uint32_t AlignmentOf(const void* address);

struct Pointers {
  const void *a, *b, *c;
  void* d;
  float alpha, beta;
};
void Multiply(const Task& task, const Problem& problem, const Pointers& at);

}  // namespace sluice::emulator
