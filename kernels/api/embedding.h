// Sum of embeddings: y[n] = token_table[token[n]] + position_table[position_offset + n mod T] (+
// segment_table[segment[n]]).
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"

namespace sluice {

template <typename T>
struct EmbeddingForwardArgs {
  const int32_t* tokens;    // (N), each in [0, V): checked by the caller when the batch is made
  const int32_t* segments;  // (N) or null: then segment 0 where there is a segment table
  const T* token_table;     // (V, C)
  const T* position_table;  // (P, C), P >= position_offset + T
  const T* segment_table;   // (S, C) or null
  T* y;                     // (N, C), overwritten
  int64_t N, T_, C;         // N = B · T_
  int64_t position_offset;  // 0 for BERT, 2 for OPT
};

// ADDS to the tables' gradients, in an order that depends on neither threads nor luck: rows of one
// token are summed in rising n (sorted segments, no atomics).
template <typename T>
struct EmbeddingBackwardArgs {
  const int32_t* tokens;            // (N)
  const int32_t* segments;          // (N) or null
  const T* dy;                      // (N, C)
  Accumulator<T>* dtoken_table;     // (V, C)
  Accumulator<T>* dposition_table;  // (P, C)
  Accumulator<T>* dsegment_table;   // (S, C) or null
  void* workspace;  // EmbeddingBackwardWorkspaceBytes(N, V) bytes, 64-byte aligned (not read by
                    // reference)
  int64_t N, T_, C, V, S;
  int64_t position_offset;
};

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

}  // namespace sluice
