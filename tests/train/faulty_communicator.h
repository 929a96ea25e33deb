// A communicator whose calls fail, or see another disk, on the rank that a test chooses.
#pragma once

#include <functional>
#include <string>

#include "comm/communicator.h"
#include "core/status.h"

namespace sluice::testing {

// Hands every call on. A fault is asked after the call, so that the other ranks are not kept
// waiting for it, or where it is said instead of it.
class FaultyCommunicator : public Communicator {
 public:
  struct Faults {
    std::function<absl::Status()> after_wait_all{};
    std::function<absl::Status()> instead_of_sum_of_doubles{};  // OK: the sum itself
    std::function<void(std::span<char>)> after_broadcast{};     // may change what arrived
  };
  FaultyCommunicator(Communicator& real, Faults faults) : real_(real), faults_(std::move(faults)) {}

  int rank() const override { return real_.rank(); }
  int world_size() const override { return real_.world_size(); }
  int local_rank() const override { return real_.local_rank(); }
  int local_size() const override { return real_.local_size(); }
  std::string name() const override { return real_.name(); }
  absl::Status AllReduceSum(std::span<float> values) override { return real_.AllReduceSum(values); }
  absl::Status AllReduceSum(std::span<double> values) override {
    if (faults_.instead_of_sum_of_doubles) RETURN_IF_ERROR(faults_.instead_of_sum_of_doubles());
    return real_.AllReduceSum(values);
  }
  absl::Status AllReduceSum(std::span<int64_t> values) override {
    return real_.AllReduceSum(values);
  }
  absl::Status AllReduceMax(std::span<int64_t> values) override {
    return real_.AllReduceMax(values);
  }
  absl::Status StartAllReduceSum(std::span<float> values) override {
    return real_.StartAllReduceSum(values);
  }
  absl::Status WaitAll() override {
    RETURN_IF_ERROR(real_.WaitAll());
    return faults_.after_wait_all ? faults_.after_wait_all() : absl::OkStatus();
  }
  absl::Status Broadcast(std::span<char> bytes, int root) override {
    RETURN_IF_ERROR(real_.Broadcast(bytes, root));
    if (faults_.after_broadcast) faults_.after_broadcast(bytes);
    return absl::OkStatus();
  }
  absl::Status Barrier() override { return real_.Barrier(); }
  absl::Status Agree(const absl::Status& status) override { return real_.Agree(status); }

 private:
  Communicator& real_;
  const Faults faults_;
};

}  // namespace sluice::testing
