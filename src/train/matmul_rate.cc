#include "train/matmul_rate.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/philox.h"
#include "core/status.h"
#include "ops/linear.h"
#include "ops/processor.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

// Values from -1 to 1: how long a GPU takes depends on them, by way of its clock.
template <typename T>
absl::Status FillRandomAs(Device& device, const TensorView& tensor, uint32_t instance) {
  const PhiloxKey key = MakePhiloxKey(1, RandomPurpose::kSampling, instance);
  HostTensor host = HostTensor::ToWrite(device, tensor);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double uniform = UniformFromWord(Philox(key, PhiloxCounter(i, 0))[0]);
    host.view().as<T>()[i] = T(static_cast<float>(2 * uniform - 1));
  }
  return host.Store();
}

absl::Status FillRandom(Device& device, const TensorView& tensor, uint32_t instance) {
  if (tensor.dtype() == DType::kBFloat16) return FillRandomAs<bf16>(device, tensor, instance);
  if (tensor.dtype() == DType::kFloat16) return FillRandomAs<fp16>(device, tensor, instance);
  return FillRandomAs<float>(device, tensor, instance);
}

}  // namespace

absl::StatusOr<double> MeasureMatmulGflops(Device& device, DType dtype, const MatmulShape& shape,
                                           int repetitions) {
  const auto [rows, inner, columns] = shape;
  if (!device.is_cuda()) {
    const bool is_bf16 = dtype == DType::kBFloat16;
    return cpu::MeasureMatmulGflops(is_bf16, rows, inner, columns, repetitions);
  }
  ExecutionContext context(device);
  Arena arena;
  const auto reserve = [&](absl::string_view name, const Shape& dims) {
    return arena.Reserve(name, MemoryPurpose::kScratch, dtype, dims);
  };
  const TensorView *x = reserve("x", {rows, inner}), *weight = reserve("weight", {columns, inner});
  const TensorView* y = reserve("y", {rows, columns});
  ops::Linear linear;
  linear.Plan(context, arena, "linear", dtype, {rows, inner, columns}, /*train=*/false);
  context.ReserveWorkspace(arena);
  RETURN_IF_ERROR(arena.Allocate(ArenaFill::kZero, device));
  for (const TensorView* tensor : {x, weight}) {
    RETURN_IF_ERROR(FillRandom(device, *tensor, 1));
  }
  linear.Bind({.weight = *weight, .bias = {}, .weight_gradient = {}, .bias_gradient = {}});
  double best = 0;
  for (int i = 0; i <= repetitions; ++i) {
    RETURN_IF_ERROR(device.Synchronize());
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(linear.Forward(context, *x, *y));
    RETURN_IF_ERROR(device.Synchronize());
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double operations =
        2.0 * static_cast<double>(rows) * static_cast<double>(inner) * static_cast<double>(columns);
    if (i > 0) best = std::max(best, operations / seconds / 1e9);
  }
  return best;
}

}  // namespace sluice
