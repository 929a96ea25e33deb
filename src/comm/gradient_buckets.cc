#include "comm/gradient_buckets.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {

GradientBuckets::GradientBuckets(Communicator& comm, std::span<float> gradients,
                                 int64_t bucket_bytes)
    : comm_(comm),
      gradients_(gradients),
      bucket_values_(bucket_bytes / static_cast<int64_t>(sizeof(float))) {
  CHECK_GE(bucket_values_, 1);
}

int64_t GradientBuckets::bucket_count() const {
  return CeilDiv(static_cast<int64_t>(gradients_.size()), bucket_values_);
}

int64_t GradientBuckets::buckets_started() const { return CeilDiv(started_, bucket_values_); }

absl::Status GradientBuckets::MarkReady(int64_t begin, int64_t end) {
  CHECK_EQ(begin, ready_);
  CHECK_LE(begin, end);
  CHECK_LE(end, static_cast<int64_t>(gradients_.size()));
  ready_ = end;
  return StartCompleteBuckets();
}

absl::Status GradientBuckets::StartCompleteBuckets() {
  const int64_t size = static_cast<int64_t>(gradients_.size());
  while (started_ < size) {
    const int64_t end = std::min(started_ + bucket_values_, size);
    if (end > ready_) break;
    const std::span<float> bucket = gradients_.subspan(started_, end - started_);
    started_ = end;
    if (comm_.world_size() > 1) RETURN_IF_ERROR(comm_.StartAllReduceSum(bucket));
  }
  return absl::OkStatus();
}

absl::Status GradientBuckets::Finish() {
  CHECK_EQ(ready_, static_cast<int64_t>(gradients_.size()));
  CHECK_EQ(started_, ready_);
  ready_ = 0;
  started_ = 0;
  return comm_.world_size() > 1 ? comm_.WaitAll() : absl::OkStatus();
}

}  // namespace sluice
