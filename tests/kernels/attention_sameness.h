// Two runs that must agree to the bit, for any number of threads.
#pragma once

#include "core/parallel.h"
#include "kernels/attention_problem.h"
#include "support/compare.h"

namespace sluice::testing {

template <typename T>
void ExpectSameResults(const AttentionResults<T>& a, const AttentionResults<T>& b) {
  ExpectSameBits<T>("out", a.out, b.out);
  ExpectSameBits<T>("dq", a.dq, b.dq);
  ExpectSameBits<T>("dk", a.dk, b.dk);
  ExpectSameBits<T>("dv", a.dv, b.dv);
  ExpectSameBits<float>("log_sum_exp", a.log_sum_exp, b.log_sum_exp);
  ExpectSameBits<float>("dgate", a.dgate, b.dgate);
  ExpectSameBits<float>("dsink_logit", a.dsink_logit, b.dsink_logit);
  ExpectSameBits<float>("dsink_key", a.dsink_key, b.dsink_key);
  ExpectSameBits<float>("dsink_value", a.dsink_value, b.dsink_value);
}

// Sets the thread count for a test and puts the old one back.
class ScopedThreads {
 public:
  explicit ScopedThreads(int threads) : before_(ComputeThreads()) { SetComputeThreads(threads); }
  ~ScopedThreads() { SetComputeThreads(before_); }
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
};

}  // namespace sluice::testing
