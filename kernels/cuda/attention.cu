// Launcher of attention's forward (kernels/api/attention.h); the kernel is in
// kernels/cuda/attention_forward.cuh, instantiated in a file for each type.
#include "core/fp16.h"
#include "kernels/api/attention.h"
#include "kernels/cuda/attention_launch.cuh"

namespace sluice::cuda {

int64_t AttentionForwardWorkspaceBytes(int64_t /*B*/, int64_t /*T*/, int64_t /*H*/, int64_t /*D*/) {
  return 0;
}

template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& args, Stream stream) {
  ForwardProblem<T> problem = {DescribeProblem<T>(args)};
  problem.out = args.out;
  problem.log_sum_exp = args.log_sum_exp;
  problem.vector_out = IsMultipleOf16Bytes(args.out) && args.D * sizeof(T) % 16 == 0;
  return WithTileOf<T>(
      args.D, [&](auto tile) { return LaunchAttentionForward<T, tile()>(problem, stream); });
}

template absl::Status AttentionForward<float>(const AttentionForwardArgs<float>&, Stream);
template absl::Status AttentionForward<bf16>(const AttentionForwardArgs<bf16>&, Stream);
template absl::Status AttentionForward<fp16>(const AttentionForwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
