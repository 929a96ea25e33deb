// One rank of the NCCL tests (nccl_test.sh): nccl_ranks CASE.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/gradient_buckets.h"
#include "comm/mpi_communicator.h"
#include "comm/nccl_communicator.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

// Values on this rank's GPU, written and read in the order of a stream.
class DeviceFloats {
 public:
  DeviceFloats(const std::vector<float>& values, cudaStream_t stream)
      : count_(values.size()), stream_(stream) {
    CHECK(cudaMalloc(reinterpret_cast<void**>(&memory_), std::max<size_t>(1, count_) * 4) ==
          cudaSuccess);
    Write(values);
  }
  ~DeviceFloats() { cudaFree(memory_); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;

  std::span<float> values() const { return {memory_, count_}; }
  void Write(const std::vector<float>& values) {
    CHECK(cudaMemcpyAsync(memory_, values.data(), 4 * count_, cudaMemcpyHostToDevice, stream_) ==
          cudaSuccess);
  }
  std::vector<float> Read() const {
    std::vector<float> values(count_);
    CHECK(cudaMemcpyAsync(values.data(), memory_, 4 * count_, cudaMemcpyDeviceToHost, stream_) ==
          cudaSuccess);
    CHECK(cudaStreamSynchronize(stream_) == cudaSuccess);
    return values;
  }

 private:
  float* memory_ = nullptr;
  const size_t count_;
  const cudaStream_t stream_;
};

// What a case has.
struct Rank {
  Communicator& comm;
  cudaStream_t stream;  // compute
};

// Exact in float in any order of the ranks, so right on hardware too.
std::string CheckDeviceSums(const Rank& rank) {
  for (const int64_t count : {1, 2, 3, 1000, 20000, 200000}) {
    // 200000 values are several chunks; EncodedValue is exact up to 20000.
    std::vector<float> own = testing::EncodedValues<float>(rank.comm.rank(), count);
    for (int64_t i = 20000; i < count; ++i) own[i] = own[i % 20000];
    DeviceFloats values(own, rank.stream);
    if (!rank.comm.StartAllReduceSum(values.values()).ok()) return "StartAllReduceSum";
    if (!rank.comm.WaitAll().ok()) return "WaitAll";
    std::vector<float> sums = values.Read();
    for (int64_t i = 20000; i < count; ++i) {
      if (sums[i] != sums[i % 20000]) return absl::StrCat("value ", i, " of ", count, " is wrong");
    }
    sums.resize(std::min<int64_t>(count, 20000));
    if (std::string wrong = testing::FirstWrongSum(sums, rank.comm.world_size()); !wrong.empty()) {
      return absl::StrCat(count, " values: ", wrong);
    }
  }
  if (!rank.comm.StartAllReduceSum(std::span<float>()).ok()) return "a sum of no values";
  return rank.comm.WaitAll().ok() ? "" : "WaitAll with nothing started";
}

// Twice, so that events and streams are used again.
std::string CheckBuckets(const Rank& rank) {
  const std::vector<float> own = testing::EncodedValues<float>(rank.comm.rank(), 20001);
  DeviceFloats gradients(own, rank.stream);
  GradientBuckets buckets(rank.comm, gradients.values(), 4096);
  for (int step = 0; step < 2; ++step) {
    gradients.Write(own);
    for (int64_t begin = 0; begin < 20001; begin += 300) {
      if (!buckets.MarkReady(begin, std::min<int64_t>(begin + 300, 20001)).ok()) return "MarkReady";
    }
    if (!buckets.Finish().ok()) return "Finish";
    const std::string wrong = testing::FirstWrongSum(gradients.Read(), rank.comm.world_size());
    if (!wrong.empty()) return wrong;
  }
  return "";
}

float RoundedValue(int rank, int64_t i) {
  return 1.0f / static_cast<float>(1 + (i * 7919 + rank * 104729) % 65521);
}

// Values whose sums round: within what rounding allows for any order of n ranks, (n - 1) roundings
// of partial sums that are at most the sum, and the same bits on every rank.
std::string CheckRounding(const Rank& rank, bool in_rank_order) {
  constexpr int64_t kCount = 5000;
  std::vector<float> own(kCount);
  for (int64_t i = 0; i < kCount; ++i) own[i] = RoundedValue(rank.comm.rank(), i);
  DeviceFloats values(own, rank.stream);
  if (!rank.comm.StartAllReduceSum(values.values()).ok()) return "StartAllReduceSum";
  if (!rank.comm.WaitAll().ok()) return "WaitAll";
  const std::vector<float> sums = values.Read();
  for (int64_t i = 0; i < kCount; ++i) {
    float ordered = 0;
    double exact = 0;
    for (int r = 0; r < rank.comm.world_size(); ++r) {
      ordered += RoundedValue(r, i);
      exact += static_cast<double>(RoundedValue(r, i));
    }
    const double bound = (rank.comm.world_size() - 1) * std::ldexp(1.01 * exact, -24);
    if (std::abs(sums[i] - exact) > bound) return absl::StrCat("sum ", i, " is ", sums[i]);
    if (in_rank_order && sums[i] != ordered) return absl::StrCat("sum ", i, " has another order");
  }
  std::vector<float> of_rank_0 = sums;
  if (!rank.comm.Broadcast({reinterpret_cast<char*>(of_rank_0.data()), 4 * kCount}, 0).ok()) {
    return "Broadcast";
  }
  return sums == of_rank_0 ? "" : "ranks have different sums";
}

int Sums(const Rank& rank, bool in_rank_order) {
  for (const std::string& wrong : {testing::CheckHostCollectives(rank.comm), CheckDeviceSums(rank),
                                   CheckBuckets(rank), CheckRounding(rank, in_rank_order)}) {
    if (wrong.empty()) continue;
    std::printf("rank %d: WRONG: %s\n", rank.comm.rank(), wrong.c_str());
    return 1;
  }
  std::printf("rank %d of %d, local %d of %d, %s: all well\n", rank.comm.rank(),
              rank.comm.world_size(), rank.comm.local_rank(), rank.comm.local_size(),
              rank.comm.name().c_str());
  return 0;
}

// Ten sums, one of which fails; all ranks stop together.
int Fault(const Rank& rank) {
  DeviceFloats values(std::vector<float>(100, 1.0f), rank.stream);
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    status = rank.comm.StartAllReduceSum(values.values());
    status.Update(rank.comm.WaitAll());
  }
  if (status.ok() || status != rank.comm.WaitAll() || status != rank.comm.Barrier()) {
    std::printf("rank %d: WRONG: the failure is not kept\n", rank.comm.rank());
    return 1;
  }
  const absl::Status agreed = rank.comm.Agree(absl::OkStatus());
  std::printf("rank %d stops: %s\n", rank.comm.rank(), std::string(agreed.message()).c_str());
  return static_cast<int>(ExitCodeOf(agreed));
}

// The second sum of the last rank fails. The others do not sum any more, so that nothing but the
// watchdog can tell them.
int Watch(const Rank& rank) {
  DeviceFloats values(std::vector<float>(100, 1.0f), rank.stream);
  absl::Status status = rank.comm.StartAllReduceSum(values.values());
  status.Update(rank.comm.WaitAll());
  if (!status.ok()) return 1;
  if (rank.comm.rank() == rank.comm.world_size() - 1) {
    status = rank.comm.StartAllReduceSum(values.values());
  } else {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    status = rank.comm.Barrier();  // of the host: it would wait for ever
  }
  const absl::Status agreed = rank.comm.Agree(status);
  std::printf("rank %d stops: %s\n", rank.comm.rank(), std::string(agreed.message()).c_str());
  return static_cast<int>(ExitCodeOf(agreed));
}

// What must be stopped, mostly by the emulator.
int Mistake(const Rank& rank, const std::string& which) {
  DeviceFloats values(std::vector<float>(100, 1.0f), rank.stream);
  const bool last = rank.comm.rank() == rank.comm.world_size() - 1;
  std::vector<float> on_host(100);
  if (which == "host_memory") (void)rank.comm.StartAllReduceSum(on_host);
  if (which != "missing" || !last) {
    const size_t count = which == "mismatch" && last ? 99 : 100;
    (void)rank.comm.StartAllReduceSum(values.values().first(count));
  }
  if (which != "no_wait") (void)rank.comm.WaitAll();
  (void)values.Read();
  (void)rank.comm.Barrier();
  std::printf("rank %d: WRONG: nobody noticed\n", rank.comm.rank());
  return 1;
}

absl::StatusOr<int> Run(Communicator& host, const std::string& test_case) {
  if (cudaSetDevice(host.local_rank()) != cudaSuccess) {
    std::printf("SKIPPED: no GPU for rank %d\n", host.rank());
    return 0;
  }
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  NcclTimeouts timeouts;
  if (test_case == "stall") timeouts.progress = std::chrono::seconds(1);
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> comm,
                   MakeNcclCommunicator(host, stream, timeouts));
  const Rank rank = {*comm, stream};
  if (test_case == "sums") return Sums(rank, false);
  if (test_case == "rank_order") return Sums(rank, true);
  if (test_case == "error" || test_case == "stall") return Fault(rank);
  if (test_case == "watch") return Watch(rank);
  return Mistake(rank, test_case);
}

int Main(const std::string& test_case) {
  absl::StatusOr<std::unique_ptr<MpiEnvironment>> mpi = MpiEnvironment::Start();
  absl::StatusOr<int> code = mpi.ok() ? Run((*mpi)->communicator(), test_case) : mpi.status();
  if (code.ok()) return *code;
  std::fprintf(stderr, "%s\n", std::string(code.status().message()).c_str());
  return static_cast<int>(ExitCodeOf(code.status()));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return argc == 2 ? sluice::Main(argv[1]) : 1; }
