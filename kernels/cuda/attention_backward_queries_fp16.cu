// Attention's backward of queries for fp16: a file a type, so that they compile side by side.
#include "kernels/cuda/attention_backward_queries.cuh"

namespace sluice::cuda {

template absl::Status LaunchAttentionBackwardQueries<fp16, 32>(const BackwardProblem<fp16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<fp16, 64>(const BackwardProblem<fp16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<fp16, 80>(const BackwardProblem<fp16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<fp16, 96>(const BackwardProblem<fp16>&,
                                                               Stream);
template absl::Status LaunchAttentionBackwardQueries<fp16, 128>(const BackwardProblem<fp16>&,
                                                                Stream);
template absl::Status LaunchAttentionBackwardQueries<fp16, 256>(const BackwardProblem<fp16>&,
                                                                Stream);

}  // namespace sluice::cuda
