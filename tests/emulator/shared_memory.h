// Shared memory with its checks: bounds, alignment, red zones, initialization, races, cp.async.
#pragma once

#include "emulator/machine.h"

namespace sluice::emulator {

// Where byte `at` of the block's shared memory is, aligned and within bounds.
u8* SharedAddress(Warp& warp, const Instruction& instruction, int lane, u32 at, u32 bytes);

// Stop the program, or note the access.
void CheckSharedRead(Warp& warp, const Instruction& instruction, int lane, u32 at, u32 bytes);
// `value`: what is written, to let several threads write the same; null when that is not known.
void CheckSharedWrite(Warp& warp, const Instruction& instruction, int lane, u32 at, u32 bytes,
                      const void* value);

}  // namespace sluice::emulator
