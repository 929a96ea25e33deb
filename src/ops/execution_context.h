// What every op needs besides its tensors: the GEMM library's primitives, scratch memory, and, when
// asked, a stopwatch. One per rank; nothing of it is global, so two models can live in one process.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "kernels/api/linear.h"
#include "runtime/arena.h"

namespace sluice {

// Time spent in each op since the last Reset, in the order in which ops were first seen.
class OpTimes {
 public:
  struct Entry {
    absl::string_view op;  // a string literal
    double seconds = 0;
    int64_t calls = 0;
  };
  OpTimes() { entries_.reserve(64); }
  void Add(absl::string_view op, double seconds);
  void Reset() { entries_.clear(); }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

class ExecutionContext {
 public:
  // Planning: says that some op will need this much scratch. One region serves all ops, since they
  // run one after the other.
  void NeedWorkspace(int64_t bytes);
  // Planning, after every NeedWorkspace: reserves the region.
  void ReserveWorkspace(Arena& arena);

  // The region, 64-byte aligned; CHECKs that it is at least `bytes` long.
  void* workspace(int64_t bytes) const;

  cpu::LinearCache& linear_cache() { return linear_cache_; }
  void set_op_times(OpTimes* times) { op_times_ = times; }  // null: off
  OpTimes* op_times() const { return op_times_; }

 private:
  cpu::LinearCache linear_cache_;
  int64_t workspace_bytes_ = 0;
  const TensorView* workspace_ = nullptr;
  OpTimes* op_times_ = nullptr;
};

// Adds its lifetime to the context's OpTimes, if any.
class OpTimer {
 public:
  OpTimer(const ExecutionContext& context, absl::string_view op)
      : times_(context.op_times()), op_(op) {
    if (times_ != nullptr) start_ = std::chrono::steady_clock::now();
  }
  ~OpTimer() {
    if (times_ == nullptr) return;
    times_->Add(op_,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  OpTimes* times_;
  absl::string_view op_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace sluice
