// Operations that a warp's lanes do together.
#pragma once

#include "emulator/machine.h"

namespace sluice::emulator {

// Are all lanes of the mask here? When some are on their way, those that are here wait, and the
// instruction is executed again with all. Lanes that can never come stop the program.
bool AllHere(Warp& warp, const Instruction& instruction, u32 mask, u32 lanes);

}  // namespace sluice::emulator
