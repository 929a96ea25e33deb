// Data-parallel loops on the process's compute threads (OpenMP's pool, which oneDNN shares, so
// cores are never oversubscribed). Ranges are static functions of (count, grain, threads): same
// threads, same bits.
//
//   ParallelFor(rows, /*grain=*/16, [&](int64_t begin, int64_t end) { for (int64_t row = begin; row
//   < end; ++row) … });
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace sluice {

// Threads that a ParallelFor of the calling thread uses.
int ComputeThreads();

// Sets it for the calling thread's loops and for oneDNN calls made from it. threads >= 1.
void SetComputeThreads(int threads);

// Splits [0, count) into at most ComputeThreads() contiguous ranges, each (but the last) a multiple
// of `grain` long, and runs body(begin, end) on each in parallel. Returns when all are done. Calls
// inside a body run serially.
void ParallelFor(int64_t count, int64_t grain,
                 absl::FunctionRef<void(int64_t begin, int64_t end)> body);

// The same; `worker` in [0, ComputeThreads()) is unique among concurrent calls: an index into
// per-worker scratch.
void ParallelForWorkers(int64_t count, int64_t grain,
                        absl::FunctionRef<void(int worker, int64_t begin, int64_t end)> body);

// Hands out items 0…count-1 one at a time to whichever worker is free, in rising order. For items
// of unequal cost whose results do not depend on which worker does them.
void ParallelForDynamic(int64_t count, absl::FunctionRef<void(int worker, int64_t item)> body);

}  // namespace sluice
