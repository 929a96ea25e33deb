// Sums of a layer's gates by head and class of token; what they are is in kernels/api/gate_sums.h.
#pragma once

#include "absl/status/status.h"
#include "kernels/api/gate_sums.h"
#include "ops/execution_context.h"

namespace sluice::ops {

// All pointers are of the context's device.
absl::Status AddGateSums(ExecutionContext& context, const GateSumsArgs& args);
// All pointers are of the host.
absl::Status AddGateSumsOnHost(const GateSumsArgs& args);

}  // namespace sluice::ops
