#include "kernels/api/embedding_layer_norm.h"

#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("EmbeddingLayerNorm");
}

template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<float>&, Stream);
template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<bf16>&, Stream);
template absl::Status EmbeddingLayerNorm(const EmbeddingLayerNormArgs<fp16>&, Stream);

}  // namespace sluice::cuda
