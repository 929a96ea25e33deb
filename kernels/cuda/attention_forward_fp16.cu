// Attention's forward for fp16: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_forward.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionForward<fp16, 32>(const ForwardProblem<fp16>&, Stream);
template absl::Status LaunchAttentionForward<fp16, 64>(const ForwardProblem<fp16>&, Stream);
template absl::Status LaunchAttentionForward<fp16, 80>(const ForwardProblem<fp16>&, Stream);
template absl::Status LaunchAttentionForward<fp16, 96>(const ForwardProblem<fp16>&, Stream);
template absl::Status LaunchAttentionForward<fp16, 128>(const ForwardProblem<fp16>&, Stream);
template absl::Status LaunchAttentionForward<fp16, 256>(const ForwardProblem<fp16>&, Stream);

}  // namespace sluice::cuda
