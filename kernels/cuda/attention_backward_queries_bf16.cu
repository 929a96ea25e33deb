// Attention's backward of queries for bf16: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_backward_queries.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionBackwardQueries<bf16, 32>(const BackwardProblem<bf16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<bf16, 64>(const BackwardProblem<bf16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<bf16, 80>(const BackwardProblem<bf16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<bf16, 96>(const BackwardProblem<bf16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<bf16, 128>(const BackwardProblem<bf16>&,
                                                                Stream);
template absl::Status LaunchAttentionBackwardQueries<bf16, 256>(const BackwardProblem<bf16>&,
                                                                Stream);

}  // namespace sluice::cuda
