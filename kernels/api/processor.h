// What the processor can do, and which implementation of each op follows from it. Read once, at run
// time: a binary that was built on one machine runs on another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct ProcessorFeatures {
  std::string model_name;  // from /proc/cpuinfo; "unknown" where that says nothing
  int logical_cores = 0;   // that this process may run on (affinity mask)
  bool avx2 = false;       // with FMA and F16C
  bool avx512 = false;     // F, BW, CD, DQ, VL
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
};

// What processor and operating system offer; ONEDNN_MAX_CPU_ISA does not change it.
ProcessorFeatures ReadProcessorFeatures();

// One line of `sluice info`: op, dtype, and the implementation that would run, e.g. {"attention",
// "bf16", "Highway AVX3"} or {"linear", "bf16", "oneDNN AVX-512 BF16"}.
struct OpImplementation {
  std::string op, dtype, implementation;
};

namespace cpu {
// Every op in fp32 and bf16, within the limits that ONEDNN_MAX_CPU_ISA sets.
std::vector<OpImplementation> Implementations();

// Measured rates of this process on its compute threads, best of `repetitions` >= 1 after one call
// that is not timed.
// GFLOP/s of y = x·Wᵀ as the linear op runs it, weights packed. 0 when the product failed (memory).
double MeasureMatmulGflops(bool bf16, int64_t rows, int64_t inner, int64_t columns,
                           int repetitions);
// GB/s of a triad-like pass (two reads, one write, of 64 MiB each: far larger than most caches).
double MeasureMemoryGbPerSecond(int repetitions);
}  // namespace cpu

}  // namespace sluice
