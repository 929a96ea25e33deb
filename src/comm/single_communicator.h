// One rank: every collective is the identity. What `sluice train` without mpirun runs on; MPI is
// not even started.
#pragma once

#include <string>

#include "comm/communicator.h"

namespace sluice {

class SingleCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  int local_rank() const override { return 0; }
  int local_size() const override { return 1; }
  std::string name() const override { return "single process"; }

  absl::Status AllReduceSum(std::span<float>) override { return absl::OkStatus(); }
  absl::Status AllReduceSum(std::span<double>) override { return absl::OkStatus(); }
  absl::Status AllReduceSum(std::span<int64_t>) override { return absl::OkStatus(); }
  absl::Status AllReduceMax(std::span<int64_t>) override { return absl::OkStatus(); }
  absl::Status StartAllReduceSum(std::span<float>) override { return absl::OkStatus(); }
  absl::Status WaitAll() override { return absl::OkStatus(); }
  absl::Status Broadcast(std::span<char> bytes, int root) override;
  absl::Status Barrier() override { return absl::OkStatus(); }
  absl::Status Agree(const absl::Status& status) override { return status; }
};

}  // namespace sluice
