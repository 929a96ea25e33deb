// The only place where a dtype and a device become a call of a kernel:
//   fp64                → reference (the judge; whole models run on it in gradient tests), CPU only
//   fp32, bf16 on a CPU → cpu
//   fp32, bf16, fp16 on a GPU → cuda, into the device's stream
#pragma once

#include <type_traits>

#include "absl/status/status.h"
#include "core/check.h"
#include "ops/execution_context.h"
#include "runtime/dtype.h"

namespace sluice::ops {

// An op's kernels: `reference` takes the arguments for double, `cpu` those for float and bf16,
// `cuda` those for float, bf16 and fp16 and a stream.
template <typename Reference, typename Cpu, typename Cuda>
struct Kernels {
  Reference reference;
  Cpu cpu;
  Cuda cuda;
};
// Clang 14 deduces no aggregate's arguments by itself.
template <typename Reference, typename Cpu, typename Cuda>
Kernels(Reference, Cpu, Cuda) -> Kernels<Reference, Cpu, Cuda>;

// Of an op that is called alike everywhere.
#define SLUICE_KERNELS(Op)                                                             \
  ::sluice::ops::Kernels {                                                             \
    ::sluice::reference::Op, [](const auto& args) { return ::sluice::cpu::Op(args); }, \
        [](const auto& args, ::sluice::cuda::Stream stream) {                          \
          return ::sluice::cuda::Op(args, stream);                                     \
        }                                                                              \
  }

// make_args.operator()<T>() builds the kernel's argument struct for storage type T.
template <typename MakeArgs, typename Reference, typename Cpu, typename Cuda>
absl::Status Dispatch(const ExecutionContext& context, absl::string_view op, DType dtype,
                      const MakeArgs& make_args, const Kernels<Reference, Cpu, Cuda>& kernels) {
  const OpTimer timer(context, op);
  const bool on_cuda = context.on_cuda();
  const auto run = [&]<typename T>() -> absl::Status {
    if (on_cuda) return kernels.cuda(make_args.template operator()<T>(), context.stream());
    if constexpr (std::is_same_v<T, fp16>) {
      CHECK(false) << op << " in fp16: CPUs have no kernels for it";
      return absl::OkStatus();
    } else {
      return kernels.cpu(make_args.template operator()<T>());
    }
  };
  switch (dtype) {
    case DType::kFloat64:
      CHECK(!on_cuda) << op << " in fp64: the reference runs on the CPU";
      kernels.reference(make_args.template operator()<double>());
      return absl::OkStatus();
    case DType::kFloat32:
      return run.template operator()<float>();
    case DType::kBFloat16:
      return run.template operator()<bf16>();
    case DType::kFloat16:
      return run.template operator()<fp16>();
    case DType::kInt32:
    case DType::kInt64:
      break;
  }
  CHECK(false) << op << " does not take " << DTypeName(dtype);
  return absl::OkStatus();
}

}  // namespace sluice::ops
