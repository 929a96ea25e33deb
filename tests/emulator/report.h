// What the emulator says: failures, and what a profile counted.
#pragma once

#include "emulator/machine.h"

namespace sluice::emulator {

// Counts transactions by source line; from SLUICE_EMULATOR_PROFILE.
extern const bool profiling;

// One kernel's counts, to stderr; nothing when it never ran.
void ReportProfile(const Kernel& kernel);

// Stops the program: host code uses the runtime wrongly. One sentence, printf-like.
[[noreturn]] void FailOnHost(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace sluice::emulator
