// Attention's backward of queries for float: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_backward_queries.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionBackwardQueries<float, 32>(const BackwardProblem<float>&,
                                                                Stream);
template absl::Status LaunchAttentionBackwardQueries<float, 64>(const BackwardProblem<float>&,
                                                                Stream);
template absl::Status LaunchAttentionBackwardQueries<float, 128>(const BackwardProblem<float>&,
                                                                 Stream);
template absl::Status LaunchAttentionBackwardQueries<float, 256>(const BackwardProblem<float>&,
                                                                 Stream);

}  // namespace sluice::cuda
