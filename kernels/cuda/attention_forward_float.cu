// Attention's forward for float: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_forward.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionForward<float, 32>(const ForwardProblem<float>&, Stream);
template absl::Status LaunchAttentionForward<float, 64>(const ForwardProblem<float>&, Stream);
template absl::Status LaunchAttentionForward<float, 128>(const ForwardProblem<float>&, Stream);
template absl::Status LaunchAttentionForward<float, 256>(const ForwardProblem<float>&, Stream);

}  // namespace sluice::cuda
