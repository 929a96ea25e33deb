// Initial weights as a function of (seed, parameter name, element index): the same for any number
// of ranks or threads, and for any order in which a model creates its parameters.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "ops/execution_context.h"
#include "runtime/parameter.h"

namespace sluice {

// Fills the master weights and rounds them to the working weights. Normal values come from Box and
// Muller's transform of two 32-bit uniforms, uniform ones from one. Drawn on the host, whatever the
// device.
absl::Status InitializeParameters(uint64_t seed, ExecutionContext& context,
                                  ParameterStore& parameters);

}  // namespace sluice
