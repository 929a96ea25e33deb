// Initial weights as a function of (seed, parameter name, element index): the same for any number
// of ranks or threads, and for any order in which a model creates its parameters.
#pragma once

#include <cstdint>

#include "runtime/parameter.h"

namespace sluice {

// Fills the master weights and rounds them to the working weights. Normal values come from Box and
// Muller's transform of two 32-bit uniforms, uniform ones from one.
void InitializeParameters(uint64_t seed, ParameterStore& parameters);

// Rounds all master weights to the working weights (after loading a checkpoint).
void RoundMasterToWorking(ParameterStore& parameters);

}  // namespace sluice
