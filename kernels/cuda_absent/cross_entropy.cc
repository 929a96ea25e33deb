#include "kernels/api/cross_entropy.h"

#include "kernels/cuda_absent/absent.h"

namespace sluice::cuda {

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& /*args*/, Stream /*stream*/) {
  return Absent("CrossEntropy");
}
int64_t CrossEntropyWorkspaceBytes(int64_t /*M*/) { return 0; }

template absl::Status CrossEntropy(const CrossEntropyArgs<float>&, Stream);
template absl::Status CrossEntropy(const CrossEntropyArgs<bf16>&, Stream);
template absl::Status CrossEntropy(const CrossEntropyArgs<fp16>&, Stream);

}  // namespace sluice::cuda
