// How many compute threads a rank runs: the cores of its machine, shared fairly among the ranks
// that may run on them.
#pragma once

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace sluice {

// configured > 0: that many. 0: what the environment's OMP_NUM_THREADS says, of a list its first
// number; without it, each core that this process may run on counts 1/(ranks of this machine that
// may run on it too), so ranks that mpirun bound to cores of their own get those, and unbound ranks
// share: 2 ranks on 2 cores run one thread each. At least 1. Collective: every rank calls it.
absl::StatusOr<int> ChooseComputeThreads(Communicator& communicator, int64_t configured);

}  // namespace sluice
