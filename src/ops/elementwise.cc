#include "ops/elementwise.h"

#include "core/check.h"
#include "kernels/api/elementwise.h"

namespace sluice::ops {

absl::Status RoundToWorking(const ExecutionContext& context, const TensorView& master,
                            const TensorView& working) {
  const OpTimer timer(context, "round_to_working");
  if (master.data() == working.data()) return absl::OkStatus();
  CHECK_EQ(master.elements(), working.elements());
  const auto convert = [&]<typename T>() -> absl::Status {
    const float* from = master.as<float>();
    if (context.on_cuda()) {
      return cuda::Convert(from, working.as<T>(), master.elements(), context.stream());
    }
    if constexpr (std::is_same_v<T, bf16>) {
      cpu::Convert(from, working.as<T>(), master.elements());
      return absl::OkStatus();
    }
    CHECK(false) << DTypeName(working.dtype()) << " on the CPU";
    return absl::OkStatus();
  };
  if (working.dtype() == DType::kFloat16) return convert.operator()<fp16>();
  return convert.operator()<bf16>();
}

absl::Status Zero(const ExecutionContext& context, const TensorView& x) {
  const OpTimer timer(context, "zero");
  CHECK(x.contiguous());
  if (context.on_cuda()) return cuda::ZeroFill(x.data(), x.bytes(), context.stream());
  cpu::ZeroFill(x.data(), x.bytes());
  return absl::OkStatus();
}

absl::Status Copy(const ExecutionContext& context, const TensorView& from, const TensorView& to) {
  const OpTimer timer(context, "copy");
  CHECK(from.contiguous() && to.contiguous());
  CHECK_EQ(from.elements(), to.elements());
  CHECK(from.dtype() == to.dtype());
  if (context.on_cuda()) {
    return cuda::Copy(from.data(), to.data(), from.bytes(), context.stream());
  }
  cpu::Copy(from.data(), to.data(), from.bytes());
  return absl::OkStatus();
}

absl::Status Run(const ExecutionContext& context, const SumOfSquaresCall& call) {
  const OpTimer timer(context, "sum_of_squares");
  CHECK(call.x.contiguous());
  const int64_t count = call.x.elements();
  if (!call.minus.null()) {
    CHECK(call.minus.contiguous());
    CHECK_EQ(call.minus.elements(), count);
  }
  if (!context.on_cuda()) {
    if (call.x.dtype() == DType::kFloat64) {
      CHECK(call.minus.null());
      *call.sum = reference::SumOfSquares(call.x.as<double>(), count);
    } else {
      *call.sum = cpu::SumOfSquares(call.x.as<float>(), count, call.minus.as<float>());
    }
    return absl::OkStatus();
  }
  return cuda::SumOfSquares<float>(
      {.x = call.x.as<float>(),
       .count = count,
       .sum = call.sum,
       .workspace = context.workspace(cuda::SumOfSquaresWorkspaceBytes()),
       .minus = call.minus.as<float>()},
      context.stream());
}

void PlanSumOfSquares(ExecutionContext& context) {
  if (context.on_cuda()) context.NeedWorkspace(cuda::SumOfSquaresWorkspaceBytes());
}

}  // namespace sluice::ops
