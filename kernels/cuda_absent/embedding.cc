#include "kernels/api/embedding.h"

#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("EmbeddingForward");
}
template <typename T>
absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("EmbeddingBackward");
}
int64_t EmbeddingBackwardWorkspaceBytes(int64_t /*N*/, int64_t /*C*/, int64_t /*S*/) { return 0; }

template absl::Status EmbeddingForward(const EmbeddingForwardArgs<float>&, Stream);
template absl::Status EmbeddingForward(const EmbeddingForwardArgs<bf16>&, Stream);
template absl::Status EmbeddingForward(const EmbeddingForwardArgs<fp16>&, Stream);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<float>&, Stream);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<bf16>&, Stream);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
