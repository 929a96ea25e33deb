// Attention's backward of keys for float: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_backward_keys.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionBackwardKeys<float, 32>(const BackwardProblem<float>&, Stream);
template absl::Status LaunchAttentionBackwardKeys<float, 64>(const BackwardProblem<float>&, Stream);
template absl::Status LaunchAttentionBackwardKeys<float, 128>(const BackwardProblem<float>&,
                                                              Stream);
template absl::Status LaunchAttentionBackwardKeys<float, 256>(const BackwardProblem<float>&,
                                                              Stream);

}  // namespace sluice::cuda
