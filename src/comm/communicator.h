// Collectives among the ranks of one data-parallel run. Every rank makes the same calls in the same
// order. Implementations: SingleCommunicator (one rank), ThreadCommunicator (ranks as threads, for
// tests), MpiCommunicator, NcclCommunicator (ranks with a GPU each).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"

namespace sluice {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  // 0 … world_size() - 1
  virtual int world_size() const = 0;
  virtual int local_rank() const = 0;    // among the ranks on this machine
  virtual int local_size() const = 0;    // ranks on this machine
  virtual std::string name() const = 0;  // e.g. "mpi (Open MPI 4.1.4)"

  // Element-wise sum over ranks, in place. The same bits on every rank and in every run with this
  // world size.
  virtual absl::Status AllReduceSum(std::span<float> values) = 0;
  virtual absl::Status AllReduceSum(std::span<double> values) = 0;
  virtual absl::Status AllReduceSum(std::span<int64_t> values) = 0;
  virtual absl::Status AllReduceMax(std::span<int64_t> values) = 0;

  // Starts a sum that may overlap with computation. `values` must stay untouched until WaitAll.
  // Buckets start and complete in the order of the calls on every rank. `values` are in host
  // memory; with NcclCommunicator in the GPU's, and then it is the compute stream that waits.
  virtual absl::Status StartAllReduceSum(std::span<float> values) = 0;
  virtual absl::Status WaitAll() = 0;

  // Copies root's bytes to every rank.
  virtual absl::Status Broadcast(std::span<char> bytes, int root) = 0;
  virtual absl::Status Barrier() = 0;

  // Ends in the same state on every rank: OK if all are OK, else the error of the lowest failing
  // rank with "rank R: " before its message (left out with one rank) and its exit code kept. The
  // way to stop together instead of hanging.
  virtual absl::Status Agree(const absl::Status& status) = 0;
};

}  // namespace sluice
