#include "train/compute_threads.h"

#include <sched.h>

#include <algorithm>
#include <vector>

#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {

absl::StatusOr<int> ChooseComputeThreads(Communicator& communicator, int64_t configured) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  std::vector<int64_t> ranks_on_core(CPU_SETSIZE);
  for (int core = 0; core < CPU_SETSIZE; ++core)
    ranks_on_core[core] = CPU_ISSET(core, &mine) ? 1 : 0;
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<int64_t>(ranks_on_core)));
  if (configured > 0) return static_cast<int>(configured);
  // The sum is over all machines, which are taken to be alike.
  const int64_t machines =
      std::max<int64_t>(1, communicator.world_size() / communicator.local_size());
  double cores = 0;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &mine))
      cores += 1.0 / static_cast<double>(CeilDiv(ranks_on_core[core], machines));
  }
  return std::max(1, static_cast<int>(cores + 1e-9));
}

}  // namespace sluice
