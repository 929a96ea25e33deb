// Sum of embeddings, the rows that a model starts with. Each of the B sequences has R register rows
// before its T tokens:
//   y[b·(R + T) + r]     = register_table[r]                                            r < R
//   y[b·(R + T) + R + t] = token_table[token[n]] (or projected[n])
//                          + position_table[position_offset + t] (+ segment_table[segment[n]])
// with n = b·T + t.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/api/cuda_stream.h"

namespace sluice {

template <typename T>
struct EmbeddingForwardArgs {
  const int32_t* tokens;    // (N), each in [0, V): checked by the caller when the batch is made
  const int32_t* segments;  // (N) or null: then segment 0 where there is a segment table
  const T* token_table;     // (V, C), or null:
  const T* projected;       // (N, C) then stands in its place; else null
  const T* position_table;  // (P, C), P >= position_offset + T
  const T* segment_table;   // (S, C) or null
  const T* register_table;  // (R, C); null when R is 0
  T* y;                     // (B·(R + T), C), overwritten
  int64_t N, T_, C;         // N = B · T_
  int64_t R;
  int64_t position_offset;  // 0 for BERT, 2 for OPT
};

// ADDS to the tables' gradients, those that are not null, in an order that depends on neither
// threads nor luck: rows of one token are summed in rising n (sorted segments, no atomics).
template <typename T>
struct EmbeddingBackwardArgs {
  const int32_t* tokens;            // (N)
  const int32_t* segments;          // (N) or null
  const T* dy;                      // (B·(R + T), C)
  Accumulator<T>* dtoken_table;     // (V, C)
  T* dprojected;                    // (N, C) or null: OVERWRITTEN, the tokens' rows of dy
  Accumulator<T>* dposition_table;  // (P, C)
  Accumulator<T>* dsegment_table;   // (S, C)
  Accumulator<T>* dregister_table;  // (R, C)
  void* workspace;  // EmbeddingBackwardWorkspaceBytes(N, V) bytes, 64-byte aligned (not read by
                    // reference)
  int64_t N, T_, C, V, S;
  int64_t R;
  int64_t position_offset;
};

// Row of y that belongs to token n.
inline int64_t EmbeddingRow(int64_t n, int64_t T, int64_t R) { return n + (n / T + 1) * R; }

int64_t EmbeddingBackwardWorkspaceBytes(int64_t N, int64_t V);

namespace reference {
void EmbeddingForward(const EmbeddingForwardArgs<double>& args);
void EmbeddingBackward(const EmbeddingBackwardArgs<double>& args);
}  // namespace reference
namespace cpu {
template <typename T>  // float, bf16
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& args);
template <typename T>
absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<T>& args);
}  // namespace cpu
// Pointers are the device's. The rows of one token are summed in rising n here too, but in pieces
// of 32, and then the pieces.
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& args, Stream stream);
template <typename T>
absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<T>& args, Stream stream);
int64_t EmbeddingBackwardWorkspaceBytes(int64_t N, int64_t C, int64_t S);
}  // namespace cuda

}  // namespace sluice
