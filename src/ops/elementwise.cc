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

}  // namespace sluice::ops
