#include "core/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>

#include "core/check.h"
#include "core/integer_math.h"

namespace sluice {
namespace {

// libgomp's fork and join are invisible to ThreadSanitizer; these acquire/release pairs state the
// same order in a form that it understands. They cost nothing beside the fork itself.
struct ForkJoin {
  std::atomic<int> forked{0};
  std::atomic<int> joined{0};
};

template <typename Body>
void RunTeam(int threads, const Body& body) {
  if (threads <= 1 || omp_in_parallel()) {
    body(0);
    return;
  }
  ForkJoin order;
  order.forked.store(1, std::memory_order_release);
#pragma omp parallel num_threads(threads)
  {
    (void)order.forked.load(std::memory_order_acquire);
    // The team may be smaller than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC).
    const int team = omp_get_num_threads();
    for (int worker = omp_get_thread_num(); worker < threads; worker += team) body(worker);
    order.joined.fetch_add(1, std::memory_order_acq_rel);
  }
  (void)order.joined.load(std::memory_order_acquire);
}

}  // namespace

int ComputeThreads() { return omp_get_max_threads(); }

void SetComputeThreads(int threads) {
  CHECK_GE(threads, 1);
  omp_set_num_threads(threads);
}

void ParallelForWorkers(int64_t count, int64_t grain,
                        absl::FunctionRef<void(int, int64_t, int64_t)> body) {
  CHECK_GE(grain, 1);
  if (count <= 0) return;
  const int64_t grains = CeilDiv(count, grain);
  const int threads = static_cast<int>(std::min<int64_t>(ComputeThreads(), grains));
  if (threads <= 1 || omp_in_parallel()) {
    body(0, 0, count);
    return;
  }
  RunTeam(threads, [&](int worker) {
    const int64_t begin = grains * worker / threads * grain;
    const int64_t end = std::min(count, grains * (worker + 1) / threads * grain);
    if (begin < end) body(worker, begin, end);
  });
}

void ParallelFor(int64_t count, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body) {
  ParallelForWorkers(count, grain, [&](int, int64_t begin, int64_t end) { body(begin, end); });
}

void ParallelForDynamic(int64_t count, absl::FunctionRef<void(int, int64_t)> body) {
  if (count <= 0) return;
  const int threads = static_cast<int>(std::min<int64_t>(ComputeThreads(), count));
  std::atomic<int64_t> next{0};
  RunTeam(threads, [&](int worker) {
    for (int64_t item = next.fetch_add(1); item < count; item = next.fetch_add(1)) {
      body(worker, item);
    }
  });
}

}  // namespace sluice
