#include "train/all_reduce_benchmark.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/nccl_communicator.h"
#include "core/error.h"
#include "core/status.h"
#include "runtime/device.h"

namespace sluice {
namespace {

constexpr int kWarmUp = 2;

// Memory of the device, for one buffer.
class Buffer {
 public:
  explicit Buffer(Device& device) : device_(device) {}
  ~Buffer() {
    if (memory_ != nullptr) device_.Free(memory_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  absl::Status Allocate(int64_t bytes) {
    ASSIGN_OR_RETURN(memory_, device_.Allocate("buffer to sum", bytes));
    bytes_ = bytes;
    return absl::OkStatus();
  }
  std::span<float> values() const {
    return {static_cast<float*>(memory_), static_cast<size_t>(bytes_ / 4)};
  }

 private:
  Device& device_;
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

struct Ranks {
  Device& device;
  Communicator& sums;  // NCCL's, or the host's
};

absl::Status SumOnce(const Ranks& ranks, const Buffer& buffer) {
  RETURN_IF_ERROR(ranks.sums.StartAllReduceSum(buffer.values()));
  RETURN_IF_ERROR(ranks.sums.WaitAll());
  return ranks.device.Synchronize();
}

// Rank r brings r + i mod 256 at place i: sums are exact in fp32.
absl::Status CheckSum(const Ranks& ranks, const Buffer& buffer) {
  const std::span<float> values = buffer.values();
  const int64_t bytes = static_cast<int64_t>(values.size_bytes());
  const auto n = static_cast<float>(ranks.sums.world_size());
  std::vector<float> on_host(values.size());
  for (size_t i = 0; i < on_host.size(); ++i) {
    on_host[i] = static_cast<float>(ranks.sums.rank()) + static_cast<float>(i % 256);
  }
  RETURN_IF_ERROR(ranks.device.CopyToDevice(values.data(), on_host.data(), bytes));
  RETURN_IF_ERROR(SumOnce(ranks, buffer));
  RETURN_IF_ERROR(ranks.device.CopyToHost(on_host.data(), values.data(), bytes));
  for (size_t i = 0; i < on_host.size(); ++i) {
    const float expected = n * (n - 1) / 2 + n * static_cast<float>(i % 256);
    if (on_host[i] == expected) continue;
    return DeviceError("a sum over the ranks is wrong", ranks.sums.name(),
                       absl::StrCat("value ", i, " of ", on_host.size(), ": ", on_host[i],
                                    ", expected ", expected));
  }
  // Zeros stay what they are, however often they are summed.
  return ranks.device.Fill(values.data(), 0, bytes);
}

absl::StatusOr<AllReduceTiming> TimeSums(const Ranks& ranks, int64_t bytes, int64_t steps) {
  Buffer buffer(ranks.device);
  RETURN_IF_ERROR(ranks.sums.Agree(buffer.Allocate(bytes)));
  RETURN_IF_ERROR(ranks.sums.Agree(CheckSum(ranks, buffer)));
  std::vector<int64_t> nanoseconds;
  for (int64_t step = 0; step < kWarmUp + steps; ++step) {
    RETURN_IF_ERROR(ranks.device.Synchronize());
    RETURN_IF_ERROR(ranks.sums.Barrier());
    const auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(SumOnce(ranks, buffer));
    const auto elapsed = std::chrono::steady_clock::now() - start;
    if (step >= kWarmUp) nanoseconds.push_back(elapsed / std::chrono::nanoseconds(1));
  }
  RETURN_IF_ERROR(ranks.sums.AllReduceMax(std::span<int64_t>(nanoseconds)));
  std::sort(nanoseconds.begin(), nanoseconds.end());
  AllReduceTiming timing = {.bytes = bytes};
  timing.seconds = 1e-9 * static_cast<double>(nanoseconds[nanoseconds.size() / 2]);
  timing.algorithm_bandwidth = static_cast<double>(bytes) / timing.seconds;
  const auto n = static_cast<double>(ranks.sums.world_size());
  timing.bus_bandwidth = timing.algorithm_bandwidth * 2 * (n - 1) / n;
  return timing;
}

}  // namespace

absl::StatusOr<AllReduceBenchmark> BenchmarkAllReduce(const AllReduceBenchmarkOptions& options,
                                                      Communicator& communicator) {
  if (communicator.world_size() == 1) {
    return UsageError("one rank has nothing to sum: start bench all-reduce under mpirun");
  }
  absl::StatusOr<std::unique_ptr<Device>> opened =
      Device::Open(options.device, communicator.local_rank());
  RETURN_IF_ERROR(communicator.Agree(opened.status()));
  Device& device = **opened;
  std::unique_ptr<Communicator> nccl;
  if (device.is_cuda()) {
    ASSIGN_OR_RETURN(nccl, MakeNcclCommunicator(communicator, device.stream()));
  }
  const Ranks ranks = {device, nccl != nullptr ? *nccl : communicator};
  AllReduceBenchmark result;
  result.device = device.Description();
  result.communicator = ranks.sums.name();
  result.emulated = absl::StrContains(result.device, "PTX emulator");
  for (const int64_t bytes : options.bytes) {
    ASSIGN_OR_RETURN(const AllReduceTiming timing, TimeSums(ranks, bytes / 4 * 4, options.steps));
    result.timings.push_back(timing);
  }
  return result;
}

}  // namespace sluice
