// What a model's first rows go through at once: the sum of embeddings, its LayerNorm, and dropout.
//
//   sum = embeddings                      (kernels/api/embedding.h)
//   y   = dropout(LayerNorm(sum))         (kernels/api/layer_norm.h: mean, rstd; dropout.h)
//
// The same numbers, to the bit, as the three one after the other: sum is rounded to T before its
// statistics are taken, y before it is dropped out. So the backward is theirs.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "kernels/api/cuda_stream.h"
#include "kernels/api/dropout.h"
#include "kernels/api/embedding.h"

namespace sluice {

template <typename T>
struct EmbeddingLayerNormArgs {
  EmbeddingForwardArgs<T> embedding;  // its y is the sum (M, C), saved; M = B·(R + T)
  const T* weight;                    // (C)
  const T* bias;                      // (C)
  T* y;                               // (M, C), overwritten; not the sum
  Accumulator<T>* mean;               // (M), saved; null when there will be no backward
  Accumulator<T>* rstd;               // (M), saved; null when there will be no backward
  float eps;
  Dropout dropout;  // of y; rows_per_sample = R + T

  int64_t rows() const { return embedding.N / embedding.T_ * (embedding.R + embedding.T_); }
};

namespace reference {
void EmbeddingLayerNorm(const EmbeddingLayerNormArgs<double>& args);
}
// One after the other.
namespace cpu {
template <typename T>  // float, bf16
absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<T>& args);
}
// Pointers are the device's. One kernel: tables are read once, sum and y written once. The same
// bits as the three kernels where tables and rows are aligned alike: columns are summed in another
// order where they are not read in vectors.
namespace cuda {
template <typename T>  // float, bf16, fp16
absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<T>& args, Stream stream);
}

}  // namespace sluice
