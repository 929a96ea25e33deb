// Launcher of attention's backward (kernels/api/attention.h), in three kernels:
//   queries (attention_backward_queries.cuh): D_i, dq, dgate at the query site;
//   keys (attention_backward_keys.cuh): dk, dv, dgate at the key site, with D_i;
//   sinks (below): their gradients, added up over the batch.
//
// Why two kernels and not one that leaves dq's parts of every key tile in the workspace: each sum
// then has one owner and one order, without atomics and without T / 64 copies of dq in memory. The
// price is that scores and ⟨dout, v⟩ are computed twice: seven products a pair of tiles instead of
// five. A clipped softmax takes two more, and a gate a channel at the query site three.
#include <cstdint>

#include "core/fp16.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/api/attention.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/storage.cuh"

namespace sluice::cuda {
namespace {

constexpr int kSinkThreads = 256;

// One block a head. dsink_logit += -Σ_{b,i} p_sink D_i, each thread its queries in rising order and
// then a tree; dsink_key and dsink_value += Σ_b of each row's part.
template <typename T>
__global__ void __launch_bounds__(kSinkThreads)
    AttentionSinkGradientsKernel(const BackwardProblem<T> problem) {
  __shared__ float parts[kSinkThreads];
  const int h = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  if (problem.dsink_key != nullptr && thread < problem.D) {
    float dkey = 0, dvalue = 0;
    for (int b = 0; b < problem.B; ++b) {
      const int64_t at = (static_cast<int64_t>(b) * problem.H + h) * problem.D + thread;
      dkey += problem.row_dsink_key[at];
      dvalue += problem.row_dsink_value[at];
    }
    problem.dsink_key[h * problem.D + thread] += dkey;
    problem.dsink_value[h * problem.D + thread] += dvalue;
  }
  if (problem.dsink_logit == nullptr) return;
  const float logit = ToFloat(problem.sink_logit[h]);
  float sum = 0;
  for (int b = 0; b < problem.B; ++b) {
    for (int i = thread; i < problem.T_; i += kSinkThreads) {
      const int64_t at = problem.RowIndex(b, h, i);
      const float log_sum_exp = problem.log_sum_exp[at];
      if (log_sum_exp == -INFINITY) continue;  // padding
      sum += expf(logit - log_sum_exp) * problem.mean_gradient[at];
    }
  }
  parts[thread] = sum;
  for (int half = kSinkThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) parts[thread] += parts[thread + half];
  }
  if (thread == 0) problem.dsink_logit[h] -= parts[0];
}

// Pieces of the workspace, each at a multiple of 256 bytes.
struct WorkspaceLayout {
  int64_t mean_floats, sink_floats;

  WorkspaceLayout(int64_t B, int64_t T, int64_t H, int64_t D)
      : mean_floats(RoundUp(B * H * T, 64)), sink_floats(RoundUp(B * H * D, 64)) {}
  int64_t bytes() const {
    return (mean_floats + 2 * sink_floats) * static_cast<int64_t>(sizeof(float));
  }
};

}  // namespace

int64_t AttentionBackwardWorkspaceBytes(int64_t B, int64_t T, int64_t H, int64_t D) {
  return WorkspaceLayout(B, T, H, D).bytes();
}

template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args, Stream stream) {
  BackwardProblem<T> problem = {DescribeProblem<T>(args)};
  const int64_t row_bytes = args.D * static_cast<int64_t>(sizeof(T));
  problem.log_sum_exp = args.log_sum_exp;
  problem.out = args.out;
  problem.dout = args.dout;
  problem.dq = args.dq;
  problem.dk = args.dk;
  problem.dv = args.dv;
  problem.dgate = args.dgate;
  problem.dsink_logit = args.dsink_logit;
  problem.dsink_key = args.dsink_key;
  problem.dsink_value = args.dsink_value;
  problem.vector_dout =
      IsMultipleOf16Bytes(args.out) && IsMultipleOf16Bytes(args.dout) && row_bytes % 16 == 0;
  problem.vector_gradients = problem.vector_qkv && IsMultipleOf16Bytes(args.dq) &&
                             IsMultipleOf16Bytes(args.dk) && IsMultipleOf16Bytes(args.dv);
  const WorkspaceLayout layout(args.B, args.T_, args.H, args.D);
  problem.mean_gradient = static_cast<float*>(args.workspace);
  problem.row_dsink_key = problem.mean_gradient + layout.mean_floats;
  problem.row_dsink_value = problem.row_dsink_key + layout.sink_floats;
  RETURN_IF_ERROR(WithTileOf<T>(args.D, [&](auto tile) -> absl::Status {
    RETURN_IF_ERROR((LaunchAttentionBackwardQueries<T, tile()>(problem, stream)));
    return LaunchAttentionBackwardKeys<T, tile()>(problem, stream);
  }));
  if (args.B == 0 || args.T_ == 0 || (args.dsink_logit == nullptr && args.dsink_key == nullptr)) {
    return absl::OkStatus();
  }
  return Launch(
      "attention backward of sinks", AttentionSinkGradientsKernel<T>,
      {.grid = dim3(static_cast<unsigned>(args.H)), .block = dim3(kSinkThreads), .stream = stream},
      problem);
}

template absl::Status AttentionBackward<float>(const AttentionBackwardArgs<float>&, Stream);
template absl::Status AttentionBackward<bf16>(const AttentionBackwardArgs<bf16>&, Stream);
template absl::Status AttentionBackward<fp16>(const AttentionBackwardArgs<fp16>&, Stream);

}  // namespace sluice::cuda
