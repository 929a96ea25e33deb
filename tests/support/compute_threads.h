// Compute threads for a scope: for tests that results do not depend on their number.
#pragma once

#include "core/parallel.h"

namespace sluice::testing {

class ScopedComputeThreads {
 public:
  explicit ScopedComputeThreads(int threads) : before_(ComputeThreads()) {
    SetComputeThreads(threads);
  }
  ~ScopedComputeThreads() { SetComputeThreads(before_); }
  ScopedComputeThreads(const ScopedComputeThreads&) = delete;

 private:
  int before_;
};

}  // namespace sluice::testing
