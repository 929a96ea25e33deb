// Ranks as threads of one process: the data-parallel code paths without MPI, for tests. Sums are
// taken in rank order, so results are the same bits in every run.
//
// It is stricter than MPI, to catch what MPI would answer with a hang or with garbage: ranks that
// make different calls, a rank that has left while others wait for it (both are errors on every
// rank), and values that change between StartAllReduceSum and WaitAll (a CHECK).
//
//   RunRanks(4, [&](Communicator& comm) {
//     std::vector<float> values(10, static_cast<float>(comm.rank()));
//     EXPECT_TRUE(comm.AllReduceSum(values).ok());
//   });
#pragma once

#include "absl/functional/function_ref.h"
#include "comm/communicator.h"

namespace sluice {

// Calls `body` on `ranks` threads, each with its own Communicator, and returns when all have
// returned. ranks >= 1.
void RunRanks(int ranks, absl::FunctionRef<void(Communicator& comm)> body);

}  // namespace sluice
