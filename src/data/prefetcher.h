// Prepares batches ahead of the step that needs them: one thread, a bounded ring of reused
// batches.
//
//   Prefetcher prefetcher({.depth = 4,
//                          .range = [&](int64_t k) { return BatchRange{k * 256 + rank * 32, 32}; },
//                          .fill = [&](BatchRange range, Batch* batch) {
//                            return source->Fill(range.first_sample, range.count, batch); }});
//   ASSIGN_OR_RETURN(const Batch* batch, prefetcher.Next());
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/batch.h"

namespace sluice {

struct BatchRange {
  int64_t first_sample = 0;
  int64_t count = 0;  // 0: there is no further batch
};

struct PrefetcherSettings {
  int64_t depth = 4;                               // batches prepared ahead, >= 1
  std::function<BatchRange(int64_t batch)> range;  // of the 0th, 1st, … batch
  std::function<absl::Status(BatchRange, Batch*)> fill;
};

// `range` and `fill` are called on the prefetcher's thread only, from the constructor on until the
// destructor returns.
class Prefetcher {
 public:
  explicit Prefetcher(PrefetcherSettings settings);
  // Waits for the batch that is being filled, and drops those that nobody took.
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The next batch in order, waiting for it if need be; it is valid until the next call. Null when
  // there is no further one. What `fill` failed with, after the batches before it, and from then
  // on always.
  absl::StatusOr<const Batch*> Next();

  // What Next() would return, when that is a batch and needs no waiting, else null. It stays valid
  // until the call after that Next().
  const Batch* Peek();

  // Time that Next() has waited, in all.
  double waited_seconds() const { return waited_seconds_; }

 private:
  void Run();
  // Waits until batch `k` may be filled; false when the destructor is there.
  bool WaitForRoom(int64_t k);
  Batch* Slot(int64_t k) { return &ring_[static_cast<size_t>(k) % ring_.size()]; }

  const PrefetcherSettings settings_;
  std::vector<Batch> ring_;  // depth + the one that the caller holds
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t filled_ = 0;  // batches 0 … filled_ - 1 have been filled
  int64_t taken_ = 0;   // batches 0 … taken_ - 1 have been handed out; the caller holds the last
  bool ended_ = false;  // no batch follows filled_ - 1, because of status_ or of the range's end
  bool stopping_ = false;
  absl::Status status_;
  double waited_seconds_ = 0;
  std::thread thread_;  // last: it starts when everything else is there
};

}  // namespace sluice
