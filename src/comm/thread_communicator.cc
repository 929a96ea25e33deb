#include "comm/thread_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/agree.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

enum class Operation { kSumFloat, kSumDouble, kSumInt64, kMaxInt64, kBroadcast, kBarrier };

// What one rank brings to a collective.
struct Call {
  Operation operation = Operation::kBarrier;
  char* data = nullptr;
  size_t bytes = 0;
  int root = 0;
};

std::string Describe(const Call& call) {
  static constexpr const char* kNames[] = {"AllReduceSum<float>",
                                           "AllReduceSum<double>",
                                           "AllReduceSum<int64_t>",
                                           "AllReduceMax<int64_t>",
                                           "Broadcast",
                                           "Barrier"};
  return absl::StrCat(kNames[static_cast<int>(call.operation)], " of ", call.bytes, " bytes, root ",
                      call.root);
}

// Combines in rank order and gives every rank the result.
template <typename T, typename Combine>
void ReduceInRankOrder(const std::vector<Call>& calls, Combine combine) {
  const size_t count = calls[0].bytes / sizeof(T);
  for (size_t i = 0; i < count; ++i) {
    T result = reinterpret_cast<const T*>(calls[0].data)[i];
    for (size_t rank = 1; rank < calls.size(); ++rank) {
      result = combine(result, reinterpret_cast<const T*>(calls[rank].data)[i]);
    }
    for (const Call& call : calls) reinterpret_cast<T*>(call.data)[i] = result;
  }
}

void Execute(const std::vector<Call>& calls) {
  switch (calls[0].operation) {
    case Operation::kSumFloat:
      return ReduceInRankOrder<float>(calls, std::plus<float>());
    case Operation::kSumDouble:
      return ReduceInRankOrder<double>(calls, std::plus<double>());
    case Operation::kSumInt64:
      return ReduceInRankOrder<int64_t>(calls, std::plus<int64_t>());
    case Operation::kMaxInt64:
      return ReduceInRankOrder<int64_t>(calls, [](int64_t a, int64_t b) { return std::max(a, b); });
    case Operation::kBroadcast:
      for (const Call& call : calls) {
        if (call.bytes > 0) std::memmove(call.data, calls[call.root].data, call.bytes);
      }
      return;
    case Operation::kBarrier:
      return;
  }
}

// The meeting point of the ranks. Whoever comes last does the work for all. (std::mutex, because
// ThreadSanitizer cannot see into the Abseil that Debian has built.)
class Meeting {
 public:
  explicit Meeting(int ranks) : calls_(ranks), ranks_(ranks) {}

  absl::Status Join(int rank, const Call& call) {
    std::unique_lock lock(mutex_);
    if (!failure_.ok()) return failure_;
    calls_[rank] = call;
    const int64_t generation = generation_;
    ++arrived_;
    CompleteIfNobodyIsMissing();
    changed_.wait(lock, [&] { return generation_ != generation || !failure_.ok(); });
    // A failure of a later meeting does not concern a rank that still leaves this one.
    return generation_ != generation ? absl::OkStatus() : failure_;
  }

  void Leave(int rank) {
    const std::lock_guard lock(mutex_);
    ++departed_;
    last_departed_ = rank;
    CompleteIfNobodyIsMissing();
  }

 private:
  // The lock is held by the caller of both.
  void CompleteIfNobodyIsMissing() {
    if (!failure_.ok() || arrived_ == 0 || arrived_ + departed_ < ranks_) return;
    failure_ = CheckCalls();
    if (failure_.ok()) {
      Execute(calls_);
      arrived_ = 0;
      ++generation_;
    }
    changed_.notify_all();
  }

  absl::Status CheckCalls() const {
    if (departed_ > 0) {
      return DeviceError("a rank has left while others wait for it",
                         absl::StrCat("rank ", last_departed_));
    }
    for (int rank = 1; rank < ranks_; ++rank) {
      const Call &mine = calls_[rank], &first = calls_[0];
      if (mine.operation != first.operation || mine.bytes != first.bytes ||
          mine.root != first.root) {
        return DeviceError(
            "ranks make different calls", "",
            absl::StrCat("rank 0: ", Describe(first), "; rank ", rank, ": ", Describe(mine)));
      }
    }
    return absl::OkStatus();
  }

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::vector<Call> calls_;
  const int ranks_;
  int arrived_ = 0;
  int departed_ = 0;
  int last_departed_ = -1;
  int64_t generation_ = 0;
  absl::Status failure_;
};

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(Meeting& meeting, int rank, int world_size)
      : meeting_(meeting), rank_(rank), world_size_(world_size) {}

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  int local_rank() const override { return rank_; }
  int local_size() const override { return world_size_; }
  std::string name() const override { return "threads"; }

  absl::Status AllReduceSum(std::span<float> values) override {
    return Reduce(Operation::kSumFloat, values);
  }
  absl::Status AllReduceSum(std::span<double> values) override {
    return Reduce(Operation::kSumDouble, values);
  }
  absl::Status AllReduceSum(std::span<int64_t> values) override {
    return Reduce(Operation::kSumInt64, values);
  }
  absl::Status AllReduceMax(std::span<int64_t> values) override {
    return Reduce(Operation::kMaxInt64, values);
  }

  absl::Status StartAllReduceSum(std::span<float> values) override {
    started_.push_back({values, Fingerprint(values)});
    return absl::OkStatus();
  }
  absl::Status WaitAll() override {
    const std::vector<Started> started = std::exchange(started_, {});
    for (const Started& one : started) {
      CHECK(Fingerprint(one.values) == one.fingerprint)
          << "values changed between StartAllReduceSum and WaitAll on rank " << rank_;
    }
    for (const Started& one : started) RETURN_IF_ERROR(Reduce(Operation::kSumFloat, one.values));
    return absl::OkStatus();
  }

  absl::Status Broadcast(std::span<char> bytes, int root) override {
    CHECK(root >= 0 && root < world_size_) << "root " << root;
    return meeting_.Join(rank_, {Operation::kBroadcast, bytes.data(), bytes.size(), root});
  }
  absl::Status Barrier() override { return meeting_.Join(rank_, {Operation::kBarrier}); }
  absl::Status Agree(const absl::Status& status) override {
    return AgreeByCollectives(*this, status);
  }

 private:
  struct Started {
    std::span<float> values;
    size_t fingerprint;
  };

  static size_t Fingerprint(std::span<const float> values) {
    return std::hash<std::string_view>()(
        {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

  template <typename T>
  absl::Status Reduce(Operation operation, std::span<T> values) {
    return meeting_.Join(rank_,
                         {operation, reinterpret_cast<char*>(values.data()), values.size_bytes()});
  }

  Meeting& meeting_;
  const int rank_;
  const int world_size_;
  std::vector<Started> started_;
};

}  // namespace

void RunRanks(int ranks, absl::FunctionRef<void(Communicator&)> body) {
  CHECK_GE(ranks, 1);
  Meeting meeting(ranks);
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&meeting, &body, rank, ranks] {
      ThreadCommunicator comm(meeting, rank, ranks);
      body(comm);
      meeting.Leave(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace sluice
