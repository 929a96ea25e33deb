// Counts what kernels do, in the units that a GPU is bound by: warp instructions, wavefronts of
// shared memory, sectors of global memory. Switched on by SLUICE_EMULATOR_PROFILE, which also
// prints them when the program ends, or by a program that takes them itself:
//
//   StartProfile();
//   cuda::Dropout(args, stream);
//   for (const KernelProfile& kernel : TakeProfile()) { … }
#pragma once

#include <string>
#include <vector>

#include "emulator/machine.h"

namespace sluice::emulator {

extern bool profiling;

// What is counted beside what it could be at best.
struct Counts {
  u64 actual = 0, ideal = 0;
};

// All launches of a kernel since the profile was started or taken.
struct KernelProfile {
  std::string name;  // as the compiler mangles it
  std::string file;  // the .cu file that it was compiled in, without folders
  u64 launches = 0;
  u64 warp_instructions = 0;        // of PTX
  u64 tensor_instructions = 0;      // mma
  u64 integer_multiplications = 0;  // half the rate of other arithmetic
  u64 special_functions = 0;        // ex2, rcp, sqrt …: an eighth of it
  Counts shared;                    // wavefronts; at best: as if no banks conflicted
  Counts shared_in_loops;           // of those, by instructions within a loop of the text
  Counts global;                    // sectors of 32 bytes; at best: of each instruction's bytes
  u64 sectors_read = 0, sectors_written = 0;  // different ones, summed over launches
};

void StartProfile();
// What was counted, by kernel in the order of names; then all counts are zero.
std::vector<KernelProfile> TakeProfile();
// Every kernel's counts by source line, to stderr.
void PrintProfile();

// ---- what operations and launches say, while profiling
void CountShared(const Instruction& i, const u32* at, u32 lanes, u32 bytes);
void CountGlobal(const Instruction& i, const u64* at, u32 lanes, u32 bytes);
void NoteSectors(u64 at, u32 bytes, Access access);
// After the last block.
void FinishLaunch(const Kernel& kernel);

}  // namespace sluice::emulator
