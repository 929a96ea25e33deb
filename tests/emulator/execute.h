// Runs kernels: blocks over the machine's threads; in a block each warp until its next barrier, in
// turn.
#pragma once

#include "emulator/machine.h"

namespace sluice::emulator {

// In which order blocks run, and the warps of a block between two barriers: a right kernel gives
// the same bits in every order.
struct Order {
  enum Kind { kForward, kReverse, kRandom } kind = kForward;
  u64 seed = 0;
};
// SLUICE_EMULATOR_ORDER=reverse or a seed sets what holds at the start.
void SetOrder(Order order);

// SLUICE_EMULATOR_THREADS; the machine's cores by default.
void Execute(const Kernel& kernel, const LaunchShape& shape, void** arguments, const Task& task);

}  // namespace sluice::emulator
