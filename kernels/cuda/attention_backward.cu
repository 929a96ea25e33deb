#include "core/fp16.h"
#include "kernels/api/attention.h"
#include "kernels/cuda/attention_launch.cuh"
namespace sluice::cuda {
int64_t AttentionBackwardWorkspaceBytes(int64_t, int64_t, int64_t, int64_t) { return 0; }
template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>&, Stream) { return absl::OkStatus(); }
template absl::Status AttentionBackward<float>(const AttentionBackwardArgs<float>&, Stream);
template absl::Status AttentionBackward<bf16>(const AttentionBackwardArgs<bf16>&, Stream);
template absl::Status AttentionBackward<fp16>(const AttentionBackwardArgs<fp16>&, Stream);
}
