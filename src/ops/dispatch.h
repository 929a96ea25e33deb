// The only place where a dtype (and, once there is one, another device) becomes a call of a kernel:
//   fp64 → reference (the judge; whole models run on it in gradient tests), fp32 and bf16 → cpu.
#pragma once

#include "absl/status/status.h"
#include "core/check.h"
#include "ops/execution_context.h"
#include "runtime/dtype.h"

namespace sluice::ops {

// make_args.operator()<T>() builds the kernel's argument struct for storage type T; `reference`
// takes it for double, `cpu` for float and bf16.
template <typename MakeArgs, typename Reference, typename Cpu>
absl::Status Dispatch(const ExecutionContext& context, absl::string_view op, DType dtype,
                      const MakeArgs& make_args, const Reference& reference, const Cpu& cpu) {
  const OpTimer timer(context, op);
  switch (dtype) {
    case DType::kFloat64:
      reference(make_args.template operator()<double>());
      return absl::OkStatus();
    case DType::kFloat32:
      return cpu(make_args.template operator()<float>());
    case DType::kBFloat16:
      return cpu(make_args.template operator()<bf16>());
    case DType::kInt32:
      break;
  }
  CHECK(false) << op << " does not take " << DTypeName(dtype);
  return absl::OkStatus();
}

}  // namespace sluice::ops
