// What the processor can do, and which implementation of each op follows from it. Read once, at run
// time: a binary that was built on one machine runs on another.
#pragma once

#include <string>
#include <vector>

namespace sluice {

struct ProcessorFeatures {
  std::string model_name;  // from /proc/cpuinfo
  int logical_cores = 0;   // that this process may run on (affinity mask)
  bool avx2 = false;       // with FMA and F16C
  bool avx512 = false;     // F, BW, CD, DQ, VL
  bool avx512_bf16 = false;
  bool amx_bf16 = false;
};

ProcessorFeatures ReadProcessorFeatures();

// One line of `sluice info`: op, dtype, and the implementation that would run, e.g. {"attention",
// "bf16", "cpu AVX3"}.
struct OpImplementation {
  std::string op, dtype, implementation;
};

namespace cpu {
std::vector<OpImplementation> Implementations();

// Measured rates of this process on its compute threads.
// GFLOP/s of y = x·Wᵀ as the linear op runs it (packed weights), rows × inner × columns, best of
// `repetitions`.
double MeasureMatmulGflops(bool bf16, long rows, long inner, long columns, int repetitions);
// GB/s of a triad-like pass (two reads, one write) over buffers far larger than the caches.
double MeasureMemoryGbPerSecond(int repetitions);
}  // namespace cpu

}  // namespace sluice
