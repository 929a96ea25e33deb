// oneDNN's matrix product as this project uses it: primitives and weight layouts are made once per
// shape and kept together with their memory objects and argument lists, so that a call sets
// pointers and runs.
//
// Runs on the OpenMP threads of core/parallel.h and is called outside of parallel regions. What
// oneDNN allocates itself in a call: about six small tables a primitive; its brgemm products
// (AVX-512 and AMX, rows of A and C adjacent) work in the scratch memory given here, the GEMM
// driver that it falls back to takes packing buffers of its own.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dnnl.hpp"

namespace sluice::cpu {

enum class ElementType { kFloat, kBf16, kInt8, kInt32 };

// The right-hand matrix B (inner, columns) of a product as it lies in memory; either stride is 1.
struct MatrixLayout {
  int64_t inner, columns;
  int64_t inner_stride, column_stride;  // elements
  ElementType type;

  // clang-tidy 14 takes the generated comparison with 0 for a null pointer.
  auto operator<=>(const MatrixLayout&) const = default;  // NOLINT(modernize-use-nullptr)
};

// C (rows, columns) = A (rows, inner) · B [+ bias (columns)] [+ C]; products and sums in fp32. With
// B of kInt8, A is of unsigned 8 bits, C of kInt32, and nothing is added; sums are exact where
// HasExactInt8Matmul.
struct MatmulShape {
  int64_t rows;
  MatrixLayout b;
  int64_t a_stride, c_stride;  // elements between rows; A has B's type, but see above
  ElementType c_type;
  bool has_bias = false;  // of B's type
  bool add_to_c = false;
  bool packed_b = false;  // B was packed by Packing::Run
  int threads = 1;

  // clang-tidy 14 takes the generated comparison with 0 for a null pointer.
  auto operator<=>(const MatmulShape&) const = default;  // NOLINT(modernize-use-nullptr)
};

struct MatmulOperands {
  const void* a;
  const void* b;
  const void* bias;  // null without
  void* c;
};

// A primitive with one memory object per argument; only the pointers change between calls.
class Executable {
 public:
  void AddArgument(int index, const dnnl::memory::desc& desc, const dnnl::engine& engine);
  void SetPointer(int index, const void* pointer);
  absl::Status Run(const dnnl::stream& stream);

  dnnl::primitive primitive;

 private:
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

struct Matmul {
  Executable executable;
  int64_t scratch_bytes = 0;
};

// How the library likes B to lie; bytes 0: just as it is.
struct Packing {
  Executable executable;
  dnnl::memory::desc packed;
  MatrixLayout plain = {};
  bool in_blocks = false;  // the layout of kernels/cpu/block_packing.h: packed without the library
  int64_t bytes = 0;
  int64_t scratch_bytes = 0;
};

class OneDnnCache {
 public:
  OneDnnCache();

  // Null when the library has nothing fast for this shape (a layout it cannot read, or bf16 on a
  // processor without). Errors: kDevice, when oneDNN fails (memory).
  absl::StatusOr<Matmul*> FindMatmul(const MatmulShape& shape);
  absl::StatusOr<Packing*> FindPacking(const MatrixLayout& layout);

  // `scratch`: scratch_bytes of it, 64-byte aligned.
  absl::Status Run(Matmul& matmul, const MatmulOperands& operands, void* scratch);
  absl::Status Pack(Packing& packing, const void* b, void* packed, void* scratch);

  // Primitives made so far.
  int64_t primitive_count() const { return primitive_count_; }

 private:
  std::unique_ptr<Matmul> MakeMatmul(const MatmulShape& shape, const dnnl::memory::desc& b);
  std::unique_ptr<Packing> MakePacking(const MatrixLayout& layout);

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::map<MatmulShape, std::unique_ptr<Matmul>> matmuls_;
  std::map<MatrixLayout, std::unique_ptr<Packing>> packings_;
  int64_t primitive_count_ = 0;
};

// Whether bf16 products run on bf16 instructions (AVX-512 BF16 or AMX, within ONEDNN_MAX_CPU_ISA).
// Elsewhere oneDNN has no bf16 product or emulates it, slower than fp32.
bool HasNativeBf16Matmul();

// Whether products of 8 bits run on instructions that add into 32 bits (VNNI, AMX; within
// ONEDNN_MAX_CPU_ISA). On others oneDNN adds two of them in 16 bits, which saturate.
bool HasExactInt8Matmul();

}  // namespace sluice::cpu
