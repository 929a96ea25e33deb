// Times sums over all ranks alone, as they add gradients up: over MPI on the CPU, by NCCL on GPUs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace sluice {

struct AllReduceBenchmarkOptions {
  std::string device = "cpu";  // as runtime.device
  std::vector<int64_t> bytes;  // of the buffers, each at least 4; what is left over 4 is dropped
  int64_t steps = 8;           // >= 1, after two that are not timed
};

struct AllReduceTiming {
  int64_t bytes = 0;
  double seconds = 0;  // median over the steps of the slowest rank's time
  // Bytes a second. algorithm: bytes / time. bus: that times 2 (n - 1) / n, what each of n ranks
  // has to send and to receive at least; so it does not depend on n where links are what limits.
  double algorithm_bandwidth = 0, bus_bandwidth = 0;
};

struct AllReduceBenchmark {
  std::string device, communicator;  // in words
  bool emulated = false;             // the times say nothing of a GPU
  std::vector<AllReduceTiming> timings;
};

// All ranks call this together; the result is the same on all. Each sum's values are looked at once
// before the time is taken. UsageError with one rank. DeviceError when a sum fails or is wrong.
absl::StatusOr<AllReduceBenchmark> BenchmarkAllReduce(const AllReduceBenchmarkOptions& options,
                                                      Communicator& communicator);

}  // namespace sluice
