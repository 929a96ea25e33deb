// What the emulator says when it stops a program.
#pragma once

#include "emulator/machine.h"

namespace sluice::emulator {

// Stops the program: host code uses the runtime wrongly. One sentence, printf-like.
[[noreturn]] void FailOnHost(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace sluice::emulator
