// Reduces one flat gradient buffer over ranks in buckets, while backward still computes the rest.
// Gradients lie in the order in which backward finishes them, so a bucket is complete as soon as
// everything up to its end is, and every rank starts the same buckets in the same order.
//
//   GradientBuckets buckets(comm, gradients, config.runtime.gradient_bucket_bytes);
//   // in backward of the last micro-batch, after each layer:
//   RETURN_IF_ERROR(buckets.MarkReady(slice.begin, slice.end));
//   RETURN_IF_ERROR(buckets.Finish());  // now `gradients` holds the sum over ranks, not the mean
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace sluice {

class GradientBuckets {
 public:
  // `comm` and the memory behind `gradients` outlive this object. bucket_bytes >= 4; a bucket holds
  // bucket_bytes / 4 values, the last one what is left.
  GradientBuckets(Communicator& comm, std::span<float> gradients, int64_t bucket_bytes);

  // Values [begin, end) are final. begin is the end of the stretch before (0 after Finish): a gap
  // would be summed before it is final, and is a CHECK. Starts every bucket that this completes;
  // their values must not be touched until Finish.
  absl::Status MarkReady(int64_t begin, int64_t end);

  // All values were marked (CHECK). Waits for the buckets and begins anew.
  absl::Status Finish();

  int64_t bucket_count() const;
  int64_t buckets_started() const;  // since the last Finish

 private:
  absl::Status StartCompleteBuckets();

  Communicator& comm_;
  const std::span<float> gradients_;
  const int64_t bucket_values_;
  int64_t ready_ = 0;  // values [0, ready_) are final
  int64_t started_ =
      0;  // values [0, started_) are being summed; a multiple of bucket_values_ or all
};

}  // namespace sluice
