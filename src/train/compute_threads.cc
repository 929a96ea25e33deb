#include "train/compute_threads.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {

// 0: the environment does not say, or nothing that is a number.
int ThreadsOfEnvironment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return 0;
  while (*text == ' ') ++text;
  int threads = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, threads);
  const bool whole = rest == end || *rest == ',' || *rest == ' ';
  return error == std::errc() && whole ? std::max(0, threads) : 0;
}

}  // namespace

absl::StatusOr<int> ChooseComputeThreads(Communicator& communicator, int64_t configured) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof(mine), &mine);
  std::vector<int64_t> ranks_on_core(CPU_SETSIZE);
  for (int core = 0; core < CPU_SETSIZE; ++core)
    ranks_on_core[core] = CPU_ISSET(core, &mine) ? 1 : 0;
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<int64_t>(ranks_on_core)));
  if (configured > 0) return static_cast<int>(configured);
  if (const int threads = ThreadsOfEnvironment(); threads > 0) return threads;
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
