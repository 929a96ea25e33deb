#include "train/attention_benchmark.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/check.h"
#include "core/philox.h"
#include "core/status.h"
#include "ops/attention.h"
#include "ops/attention_gate.h"
#include "ops/attention_kernel.h"
#include "ops/cudnn_attention.h"

namespace sluice {
namespace {

using ops::AttentionDims;

struct Buffers {
  const TensorView *qkv, *dqkv, *out, *dout, *gate, *dgate, *gate_weight, *gate_weight_gradient,
      *log_sum_exp, *ungated, *sample_index;
};

template <typename T>
absl::Status FillRandomAs(Device& device, const TensorView& view, uint32_t instance) {
  const PhiloxKey key = MakePhiloxKey(1, RandomPurpose::kSampling, instance);
  std::vector<T> values(view.elements());
  for (int64_t i = 0; i < view.elements(); ++i) {
    values[i] = T(static_cast<float>(2 * UniformFromWord(Philox(key, PhiloxCounter(i, 0))[0]) - 1));
  }
  return device.CopyToDevice(view.data(), values.data(),
                             view.elements() * static_cast<int64_t>(sizeof(T)));
}
absl::Status FillRandom(Device& device, const TensorView& view, uint32_t instance) {
  return view.dtype() == DType::kBFloat16 ? FillRandomAs<bf16>(device, view, instance)
                                          : FillRandomAs<float>(device, view, instance);
}

Buffers Plan(Arena& arena, const AttentionBenchmarkOptions& options) {
  const int64_t N = options.batch * options.length, H = options.heads, C = H * options.head_size;
  auto reserve = [&](const char* name, DType dtype, const Shape& shape) {
    return arena.Reserve(name, MemoryPurpose::kScratch, dtype, shape);
  };
  return {
      .qkv = reserve("qkv", options.dtype, {N, 3 * C}),
      .dqkv = reserve("dqkv", options.dtype, {N, 3 * C}),
      .out = reserve("out", options.dtype, {N, C}),
      .dout = reserve("dout", options.dtype, {N, C}),
      .gate = reserve("gate", DType::kFloat32, {N, H}),
      .dgate = reserve("dgate", DType::kFloat32, {N, H}),
      .gate_weight = reserve("gate_weight", options.dtype, {H, C}),
      .gate_weight_gradient = reserve("gate_weight_gradient", DType::kFloat32, {H, C}),
      .log_sum_exp = reserve("log_sum_exp", DType::kFloat32, {options.batch, H, options.length}),
      .ungated = reserve("ungated", options.dtype, {N, C}),
      .sample_index = reserve("sample_index", DType::kInt64, {options.batch})};
}

const TensorView& Ungated(const Buffers& buffers, GateSite site) {
  return site == GateSite::kQuery ? *buffers.ungated : *buffers.out;
}

absl::Status Forward(ExecutionContext& context, const AttentionDims& dims, const Buffers& buffers,
                     GateSite site, const AttentionMask& mask, const Dropout& dropout) {
  const int64_t C = dims.H * dims.D;
  const bool gated = site != GateSite::kNone;
  if (gated) {
    RETURN_IF_ERROR(
        ops::Run(context, ops::AttentionGateForward{.source = buffers.qkv->Columns(2 * C, C),
                                                    .weight = *buffers.gate_weight,
                                                    .bias = {},
                                                    .gate = *buffers.gate}));
  }
  return ops::Run(context, ops::AttentionForward{.dims = dims,
                                                 .qkv = *buffers.qkv,
                                                 .gate = gated ? *buffers.gate : TensorView(),
                                                 .out = *buffers.out,
                                                 .log_sum_exp = *buffers.log_sum_exp,
                                                 .gate_site = site,
                                                 .mask = mask,
                                                 .dropout = dropout,
                                                 .ungated = Ungated(buffers, site)});
}

absl::Status Backward(ExecutionContext& context, const AttentionDims& dims, const Buffers& buffers,
                      GateSite site, const AttentionMask& mask, const Dropout& dropout) {
  const int64_t C = dims.H * dims.D;
  const bool gated = site != GateSite::kNone;
  RETURN_IF_ERROR(
      ops::Run(context, ops::AttentionBackward{.dims = dims,
                                               .qkv = *buffers.qkv,
                                               .gate = gated ? *buffers.gate : TensorView(),
                                               .out = *buffers.out,
                                               .log_sum_exp = *buffers.log_sum_exp,
                                               .dout = *buffers.dout,
                                               .dqkv = *buffers.dqkv,
                                               .dgate = gated ? *buffers.dgate : TensorView(),
                                               .gate_site = site,
                                               .mask = mask,
                                               .dropout = dropout,
                                               .ungated = Ungated(buffers, site)}));
  if (!gated) return absl::OkStatus();
  return ops::Run(context, ops::AttentionGateBackward{.source = buffers.qkv->Columns(2 * C, C),
                                                      .weight = *buffers.gate_weight,
                                                      .gate = *buffers.gate,
                                                      .dgate = *buffers.dgate,
                                                      .dsource = buffers.dqkv->Columns(2 * C, C),
                                                      .dweight = *buffers.gate_weight_gradient,
                                                      .dbias = {}});
}

absl::StatusOr<double> Fastest(Device& device, int64_t repetitions,
                               const std::function<absl::Status()>& run) {
  double best = 1e30;
  for (int64_t i = 0; i <= repetitions; ++i) {  // the first warms up
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(run());
    RETURN_IF_ERROR(device.Synchronize());
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) best = std::min(best, elapsed);
  }
  return best;
}

constexpr std::pair<const char*, GateSite> kVariants[] = {{"vanilla", GateSite::kNone},
                                                          {"VGA query site", GateSite::kQuery},
                                                          {"VGA key site", GateSite::kKey}};

// Chooses who runs attention, and plans what it needs.
absl::Status PlanAttention(ExecutionContext& context, const AttentionBenchmarkOptions& options,
                           const AttentionDims& dims) {
  const bool on_cuda = context.on_cuda();
  ASSIGN_OR_RETURN(
      const ops::AttentionChoice choice,
      ops::ChooseAttentionKernel(options.attention_kernel,
                                 {.variant = {},
                                  .dtype = options.dtype,
                                  .head_size = options.head_size,
                                  .length = options.length,
                                  .train = true,
                                  .dropout = options.dropout},
                                 on_cuda ? cuda::ReadCudnnFacts() : cuda::CudnnFacts(), on_cuda));
  if (choice.kernel == ops::AttentionKernel::kCudnn) {
    context.use_cudnn();
    for (const auto& [name, site] : kVariants) {
      RETURN_IF_ERROR(ops::PlanCudnnAttention(context, dims, options.dtype, {.gate_site = site},
                                              options.causal, /*train=*/true));
    }
  } else {
    ops::PlanAttention(context, dims, /*train=*/true);
  }
  ops::PlanAttentionGate(context, dims.B * dims.T, dims.H * dims.D, dims.H);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<AttentionTiming>> BenchmarkAttention(
    const AttentionBenchmarkOptions& options) {
  CHECK(options.dtype == DType::kBFloat16 || options.dtype == DType::kFloat32);
  const AttentionDims dims{options.batch, options.length, options.heads, options.head_size};
  ASSIGN_OR_RETURN(const std::unique_ptr<Device> device,
                   Device::Open(options.device, /*local_rank=*/0));
  ExecutionContext context(*device);
  Arena arena;
  const Buffers buffers = Plan(arena, options);
  RETURN_IF_ERROR(PlanAttention(context, options, dims));
  context.ReserveWorkspace(arena);
  RETURN_IF_ERROR(arena.Allocate(ArenaFill::kZero, *device));
  RETURN_IF_ERROR(FillRandom(*device, *buffers.qkv, 1));
  RETURN_IF_ERROR(FillRandom(*device, *buffers.dout, 2));
  RETURN_IF_ERROR(FillRandom(*device, *buffers.gate_weight, 3));
  std::vector<int64_t> samples(options.batch);
  for (int64_t b = 0; b < options.batch; ++b) samples[b] = b;
  RETURN_IF_ERROR(device->CopyToDevice(buffers.sample_index->data(), samples.data(),
                                       options.batch * static_cast<int64_t>(sizeof(int64_t))));
  const Dropout dropout{.probability = static_cast<float>(options.dropout),
                        .key = MakePhiloxKey(1, RandomPurpose::kDropout, 0),
                        .sample_index = buffers.sample_index->as<int64_t>(),
                        .rows_per_sample = options.length};
  const AttentionMask mask{.causal = options.causal};
  const double products =
      static_cast<double>(dims.B * dims.H * dims.T * dims.T * dims.D) * (options.causal ? 0.5 : 1);

  std::vector<AttentionTiming> timings;
  for (const auto& [name, site] : kVariants) {
    AttentionTiming timing{.variant = name};
    const GateSite gate_site = site;
    ASSIGN_OR_RETURN(timing.forward_s, Fastest(*device, options.repetitions, [&] {
                       return Forward(context, dims, buffers, gate_site, mask, dropout);
                     }));
    ASSIGN_OR_RETURN(timing.backward_s, Fastest(*device, options.repetitions, [&] {
                       return Backward(context, dims, buffers, gate_site, mask, dropout);
                     }));
    timing.forward_gflops = 4 * products / timing.forward_s / 1e9;
    timing.backward_gflops = 10 * products / timing.backward_s / 1e9;
    timings.push_back(timing);
  }
  return timings;
}

}  // namespace sluice
