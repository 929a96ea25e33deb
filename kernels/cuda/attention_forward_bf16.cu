// Attention's forward for bf16: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_forward.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionForward<bf16, 32>(const ForwardProblem<bf16>&, Stream);
template absl::Status LaunchAttentionForward<bf16, 64>(const ForwardProblem<bf16>&, Stream);
template absl::Status LaunchAttentionForward<bf16, 80>(const ForwardProblem<bf16>&, Stream);
template absl::Status LaunchAttentionForward<bf16, 96>(const ForwardProblem<bf16>&, Stream);
template absl::Status LaunchAttentionForward<bf16, 128>(const ForwardProblem<bf16>&, Stream);
template absl::Status LaunchAttentionForward<bf16, 256>(const ForwardProblem<bf16>&, Stream);

}  // namespace sluice::cuda
