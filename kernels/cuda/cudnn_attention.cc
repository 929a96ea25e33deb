#include "kernels/api/cudnn_attention.h"

#include <cuda_runtime_api.h>

#include <limits>
#include <map>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/check.h"
#include "core/fp16.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/head_scale.h"

namespace sluice::cuda {
namespace {

// 90 for sm_90; 0 where no device answers.
int ReadCapability() {
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    return 0;
  }
  return 10 * major + minor;
}

}  // namespace

CudnnFacts ReadCudnnFacts() {
  return {.built = true,
          .version = static_cast<int64_t>(cudnnGetVersion()),
          .compute_capability = ReadCapability()};
}

struct CudnnAttention::State {
  cudnnHandle_t handle = nullptr;
  int capability = 0;
  std::map<CudnnProblem, CudnnPlan> plans;

  ~State() {
    plans.clear();
    if (handle != nullptr) cudnnDestroy(handle);
  }
  absl::StatusOr<const CudnnPlan*> Find(const CudnnProblem& problem);
  absl::Status Run(const CudnnProblem& problem, const std::vector<CudnnPointer>& pointers,
                   void* workspace, Stream stream);
};

absl::StatusOr<const CudnnPlan*> CudnnAttention::State::Find(const CudnnProblem& problem) {
  const auto known = plans.find(problem);
  if (known != plans.end()) return &known->second;
  if (handle == nullptr) {
    capability = ReadCapability();
    RETURN_IF_ERROR(CheckCudnn(cudnnCreate(&handle), "cudnnCreate"));
  }
  ASSIGN_OR_RETURN(CudnnPlan plan, CudnnPlan::Create(handle, capability, problem));
  return &plans.emplace(problem, std::move(plan)).first->second;
}

absl::Status CudnnAttention::State::Run(const CudnnProblem& problem,
                                        const std::vector<CudnnPointer>& pointers, void* workspace,
                                        Stream stream) {
  ASSIGN_OR_RETURN(const CudnnPlan* plan, Find(problem));
  RETURN_IF_ERROR(CheckCudnn(cudnnSetStream(handle, stream), "cudnnSetStream"));
  return plan->Run(handle, pointers, workspace);
}

CudnnAttention::CudnnAttention() : state_(std::make_unique<State>()) {}
CudnnAttention::~CudnnAttention() = default;

namespace {

template <typename T>
constexpr cudnnDataType_t kType = std::is_same_v<T, bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;

// What ops/attention_kernel.h lets through.
template <typename Args>
void CheckCan(const Args& args) {
  CHECK(!args.clip.enabled()) << "clipped softmax";
  CHECK(args.sink == SoftmaxSink::kNone && args.sink_key == nullptr) << "a sink";
  CHECK(args.mask.documents == nullptr && args.mask.registers == 0) << "documents or registers";
  CHECK(!args.dropout.enabled()) << "dropout";
  CHECK(args.D % 8 == 0 && args.D <= 256) << "head size " << args.D;
  CHECK_EQ(args.qkv_stride % 8, 0) << "rows are not aligned";
}

// Element (b, t, h, d) is at the same place of it as of O: what a gate scaled before cuDNN sees it.
template <typename Args>
int64_t ScaledBytes(const Args& args) {
  return RoundUp(args.B * args.T_ * args.H * args.D * 2, 256);
}

template <typename T>
CudnnProblem ProblemOf(const AttentionForwardArgs<T>& args) {
  return {.type = kType<T>,
          .B = args.B,
          .T = args.T_,
          .H = args.H,
          .D = args.D,
          .qkv_stride = args.qkv_stride,
          .value_stride = args.gate_site == GateSite::kKey ? args.H * args.D : args.qkv_stride,
          .causal = args.mask.causal,
          .by_length = args.mask.lengths != nullptr,
          .backward = false,
          .with_statistics = args.log_sum_exp != nullptr};
}
template <typename T>
CudnnProblem ProblemOf(const AttentionBackwardArgs<T>& args) {
  return {.type = kType<T>,
          .B = args.B,
          .T = args.T_,
          .H = args.H,
          .D = args.D,
          .qkv_stride = args.qkv_stride,
          .value_stride = args.gate_site == GateSite::kKey ? args.H * args.D : args.qkv_stride,
          .causal = args.mask.causal,
          .by_length = args.mask.lengths != nullptr,
          .backward = true,
          .with_statistics = true};
}

// gate · V, packed, into `scaled`.
template <typename Args, typename T>
absl::Status ScaleValues(const Args& args, T* scaled, Stream stream) {
  return ScaleHeads<T>({.x = args.v,
                        .gate = args.gate,
                        .y = scaled,
                        .lengths = args.mask.lengths,
                        .B = args.B,
                        .T_ = args.T_,
                        .H = args.H,
                        .D = args.D,
                        .x_stride = args.qkv_stride,
                        .y_stride = args.H * args.D,
                        .per_channel = args.gate_per_channel},
                       stream);
}

template <typename Args>
void AddLengths(const Args& args, std::vector<CudnnPointer>& pointers) {
  if (args.mask.lengths != nullptr) {
    pointers.push_back({kTensorQueryLengths, args.mask.lengths});
    pointers.push_back({kTensorKeyLengths, args.mask.lengths});
  }
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  if (args.mask.causal) pointers.push_back({kTensorMinusInfinity, &kMinusInfinity});
}

// Rows of padding, of which cuDNN does not say what it writes there.
template <typename T, typename Args>
absl::Status ZeroRowsOfPadding(const Args& args, T* rows, int64_t stride, Stream stream) {
  if (args.mask.lengths == nullptr) return absl::OkStatus();
  return ZeroPadding<T>({.x = rows,
                         .lengths = args.mask.lengths,
                         .B = args.B,
                         .T_ = args.T_,
                         .columns = args.H * args.D,
                         .stride = stride},
                        stream);
}

}  // namespace

template <typename T>
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& context,
                                            const AttentionForwardArgs<T>& args) {
  ASSIGN_OR_RETURN(const CudnnPlan* plan, context.state().Find(ProblemOf(args)));
  return plan->workspace_bytes() + (args.gate_site == GateSite::kKey ? ScaledBytes(args) : 0);
}
template <typename T>
absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention& context,
                                            const AttentionBackwardArgs<T>& args) {
  ASSIGN_OR_RETURN(const CudnnPlan* plan, context.state().Find(ProblemOf(args)));
  return plan->workspace_bytes() + (args.gate_site == GateSite::kNone ? 0 : ScaledBytes(args));
}

template <typename T>
absl::Status CudnnAttentionForward(CudnnAttention& context, const AttentionForwardArgs<T>& args,
                                   T* ungated, Stream stream) {
  CheckCan(args);
  if (args.B * args.T_ * args.H == 0) return absl::OkStatus();
  auto* workspace = static_cast<char*>(args.workspace);
  const T* values = args.v;
  if (args.gate_site == GateSite::kKey) {
    auto* scaled = reinterpret_cast<T*>(workspace);
    workspace += ScaledBytes(args);
    RETURN_IF_ERROR(ScaleValues(args, scaled, stream));
    values = scaled;
  }
  std::vector<CudnnPointer> pointers = {{kTensorQ, args.q},
                                        {kTensorK, args.k},
                                        {kTensorV, values},
                                        {kTensorO, ungated},
                                        {kTensorScale, &args.scale}};
  if (args.log_sum_exp != nullptr) pointers.push_back({kTensorStatistics, args.log_sum_exp});
  AddLengths(args, pointers);
  RETURN_IF_ERROR(context.state().Run(ProblemOf(args), pointers, workspace, stream));
  RETURN_IF_ERROR(ZeroRowsOfPadding(args, ungated, args.H * args.D, stream));
  if (args.gate_site != GateSite::kQuery) return absl::OkStatus();
  return ScaleHeads<T>({.x = ungated,
                        .gate = args.gate,
                        .y = args.out,
                        .lengths = args.mask.lengths,
                        .B = args.B,
                        .T_ = args.T_,
                        .H = args.H,
                        .D = args.D,
                        .x_stride = args.H * args.D,
                        .y_stride = args.H * args.D,
                        .per_channel = args.gate_per_channel},
                       stream);
}

namespace {

// dx = gate · dy and the gate's gradient.
template <typename T>
absl::Status ScaleGradient(const AttentionBackwardArgs<T>& args, const T* dy, const T* x,
                           int64_t stride, T* dx, Stream stream) {
  return ScaleHeadsBackward<T>({.dy = dy,
                                .x = x,
                                .gate = args.gate,
                                .dx = dx,
                                .dgate = args.dgate,
                                .lengths = args.mask.lengths,
                                .B = args.B,
                                .T_ = args.T_,
                                .H = args.H,
                                .D = args.D,
                                .dy_stride = stride,
                                .x_stride = stride,
                                .dx_stride = stride,
                                .per_channel = args.gate_per_channel},
                               stream);
}

}  // namespace

template <typename T>
absl::Status CudnnAttentionBackward(CudnnAttention& context, const AttentionBackwardArgs<T>& args,
                                    const T* ungated, Stream stream) {
  CheckCan(args);
  if (args.B * args.T_ * args.H == 0) return absl::OkStatus();
  auto* workspace = static_cast<char*>(args.workspace);
  auto* scaled = reinterpret_cast<T*>(workspace);
  if (args.gate_site != GateSite::kNone) workspace += ScaledBytes(args);
  const T *values = args.v, *doutput = args.dout;
  if (args.gate_site == GateSite::kKey) {
    RETURN_IF_ERROR(ScaleValues(args, scaled, stream));
    values = scaled;
  } else if (args.gate_site == GateSite::kQuery) {
    RETURN_IF_ERROR(ScaleGradient(args, args.dout, ungated, args.H * args.D, scaled, stream));
    doutput = scaled;
  }
  std::vector<CudnnPointer> pointers = {{kTensorQ, args.q},   {kTensorK, args.k},
                                        {kTensorV, values},   {kTensorO, ungated},
                                        {kTensorDo, doutput}, {kTensorStatistics, args.log_sum_exp},
                                        {kTensorDq, args.dq}, {kTensorDk, args.dk},
                                        {kTensorDv, args.dv}, {kTensorScale, &args.scale}};
  AddLengths(args, pointers);
  RETURN_IF_ERROR(context.state().Run(ProblemOf(args), pointers, workspace, stream));
  for (T* rows : {args.dq, args.dk, args.dv}) {
    RETURN_IF_ERROR(ZeroRowsOfPadding(args, rows, args.qkv_stride, stream));
  }
  if (args.gate_site != GateSite::kKey) return absl::OkStatus();
  return ScaleGradient(args, args.dv, args.v, args.qkv_stride, args.dv, stream);
}

#define SLUICE_INSTANTIATE_CUDNN(T)                                                                \
  template absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&,                            \
                                                       const AttentionForwardArgs<T>&);            \
  template absl::StatusOr<int64_t> CudnnWorkspaceBytes(CudnnAttention&,                            \
                                                       const AttentionBackwardArgs<T>&);           \
  template absl::Status CudnnAttentionForward(CudnnAttention&, const AttentionForwardArgs<T>&, T*, \
                                              Stream);                                             \
  template absl::Status CudnnAttentionBackward(CudnnAttention&, const AttentionBackwardArgs<T>&,   \
                                               const T*, Stream)
SLUICE_INSTANTIATE_CUDNN(bf16);
SLUICE_INSTANTIATE_CUDNN(fp16);
#undef SLUICE_INSTANTIATE_CUDNN

}  // namespace sluice::cuda
