#include "data/prefetcher.h"

#include <chrono>
#include <utility>

#include "core/check.h"

namespace sluice {

Prefetcher::Prefetcher(PrefetcherSettings settings)
    : settings_(std::move(settings)), ring_(static_cast<size_t>(settings_.depth) + 1) {
  CHECK_GE(settings_.depth, 1);
  CHECK(settings_.range && settings_.fill);
  thread_ = std::thread([this] { Run(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::Run() {
  for (int64_t k = 0; WaitForRoom(k); ++k) {
    const BatchRange range = settings_.range(k);
    absl::Status status;
    if (range.count > 0) status = settings_.fill(range, Slot(k));
    const bool filled = status.ok() && range.count > 0;
    {
      const std::lock_guard lock(mutex_);
      if (filled) {
        filled_ = k + 1;
      } else {
        ended_ = true;
        status_ = std::move(status);
      }
    }
    changed_.notify_all();
    if (!filled) return;
  }
}

bool Prefetcher::WaitForRoom(int64_t k) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    const int64_t given_back = taken_ == 0 ? 0 : taken_ - 1;
    return stopping_ || k < given_back + static_cast<int64_t>(ring_.size());
  });
  return !stopping_;
}

absl::StatusOr<const Batch*> Prefetcher::Next() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return filled_ > taken_ || ended_; });
  waited_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (filled_ == taken_) {
    if (!status_.ok()) return status_;
    return nullptr;
  }
  const Batch* batch = Slot(taken_++);
  lock.unlock();
  changed_.notify_all();
  return batch;
}

const Batch* Prefetcher::Peek() {
  const std::lock_guard lock(mutex_);
  return filled_ > taken_ ? Slot(taken_) : nullptr;
}

}  // namespace sluice
