#include "comm/nccl_communicator.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/single_communicator.h"
#include "core/check.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kCallPoll = std::chrono::microseconds(20);       // a call that is in progress
constexpr auto kWatchdogPoll = std::chrono::milliseconds(100);  // errors of what runs on the GPU

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& host, cudaStream_t compute_stream, const NcclTimeouts& timeouts)
      : host_(host), compute_stream_(compute_stream), timeouts_(timeouts) {}
  ~NcclCommunicator() override;

  // Streams and events of this rank.
  absl::Status Create();
  // DeviceError, on all ranks, when two have one GPU. Collective.
  absl::Status CheckOwnGpu();
  // Together with all other ranks.
  absl::Status Join(const ncclUniqueId& id);
  void StartWatchdog() {
    watchdog_ = std::thread([this] { Watch(); });
  }

  int rank() const override { return host_.rank(); }
  int world_size() const override { return host_.world_size(); }
  int local_rank() const override { return host_.local_rank(); }
  int local_size() const override { return host_.local_size(); }
  std::string name() const override;

  absl::Status AllReduceSum(std::span<float> values) override { return SumOnHost(values); }
  absl::Status AllReduceSum(std::span<double> values) override { return SumOnHost(values); }
  absl::Status AllReduceSum(std::span<int64_t> values) override { return SumOnHost(values); }
  absl::Status AllReduceMax(std::span<int64_t> values) override {
    RETURN_IF_ERROR(Failure());
    return host_.AllReduceMax(values);
  }
  absl::Status Broadcast(std::span<char> bytes, int root) override {
    RETURN_IF_ERROR(Failure());
    return host_.Broadcast(bytes, root);
  }
  absl::Status Barrier() override {
    RETURN_IF_ERROR(Failure());
    return host_.Barrier();
  }
  // The caller's error comes first: it is likelier to be the cause.
  absl::Status Agree(const absl::Status& status) override {
    return host_.Agree(status.ok() ? Failure() : status);
  }

  absl::Status StartAllReduceSum(std::span<float> values) override;
  absl::Status WaitAll() override;

 private:
  template <typename T>
  absl::Status SumOnHost(std::span<T> values) {
    RETURN_IF_ERROR(Failure());
    return host_.AllReduceSum(values);
  }

  absl::Status Failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  std::string Where() const { return absl::StrCat("rank ", rank(), " of ", world_size()); }
  absl::Status CheckCuda(cudaError_t error, absl::string_view call) const {
    if (error == cudaSuccess) return absl::OkStatus();
    return DeviceError(absl::StrCat(call, " failed"), Where(), cudaGetErrorString(error));
  }

  // With the mutex held:
  absl::Status Await(absl::string_view call, ncclResult_t result, Clock::duration timeout);
  absl::Status Fail(absl::string_view what, absl::string_view reason);
  absl::Status FailBy(absl::string_view call, ncclResult_t result);
  absl::Status CheckRunningSums();

  void Watch();

  Communicator& host_;
  CUstream_st* const compute_stream_;
  const NcclTimeouts timeouts_;
  int gpu_ = 0;

  std::mutex mutex_;  // of what follows: the watchdog's too
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;   // of the sums
  cudaEvent_t produced_ = nullptr;  // in the compute stream: a bucket's values are there
  cudaEvent_t reduced_ = nullptr;   // in stream_: all sums are done
  absl::Status failure_;            // the first; comm_ is aborted then
  bool started_ = false;            // a sum since the last WaitAll
  std::optional<Clock::time_point> must_be_reduced_;  // when reduced_ must have come to pass
  bool leaving_ = false;
  std::condition_variable leaving_changed_;
  std::thread watchdog_;
};

std::string NcclCommunicator::name() const {
  int version = 0;  // 22809 is 2.28.9
  if (ncclGetVersion(&version) != ncclSuccess) return absl::StrCat("nccl and ", host_.name());
  return absl::StrCat("nccl (NCCL ", version / 10000, ".", version / 100 % 100, ".", version % 100,
                      ") and ", host_.name());
}

absl::Status NcclCommunicator::Create() {
  RETURN_IF_ERROR(CheckCuda(cudaGetDevice(&gpu_), "cudaGetDevice"));
  int least = 0, greatest = 0;
  RETURN_IF_ERROR(CheckCuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                            "cudaDeviceGetStreamPriorityRange"));
  // First in line: a sum that waits behind kernels makes every other rank's wait too.
  RETURN_IF_ERROR(CheckCuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest),
                            "cudaStreamCreateWithPriority"));
  for (cudaEvent_t* event : {&produced_, &reduced_}) {
    RETURN_IF_ERROR(CheckCuda(cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                              "cudaEventCreateWithFlags"));
  }
  return absl::OkStatus();
}

absl::Status NcclCommunicator::CheckOwnGpu() {
  cudaDeviceProp properties;
  RETURN_IF_ERROR(host_.Agree(
      CheckCuda(cudaGetDeviceProperties(&properties, gpu_), "cudaGetDeviceProperties")));
  // Each rank's name of its GPU, which no other in the world has, in its own place of a sum.
  using Name = std::array<int64_t, sizeof(properties.uuid) / sizeof(int64_t)>;
  std::vector<Name> names(world_size());
  std::memcpy(names[rank()].data(), &properties.uuid, sizeof(Name));
  RETURN_IF_ERROR(
      host_.AllReduceSum(std::span(names.front().data(), names.size() * Name().size())));
  std::map<Name, int> owners;
  for (int rank = 0; rank < world_size(); ++rank) {
    const auto [owner, is_new] = owners.emplace(names[rank], rank);
    if (is_new) continue;
    return DeviceError("two ranks have the same GPU", "runtime.device cuda",
                       absl::StrCat("ranks ", owner->second, " and ", rank));
  }
  return absl::OkStatus();
}

absl::Status NcclCommunicator::Join(const ncclUniqueId& id) {
  const std::lock_guard lock(mutex_);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that a call which cannot go on can be given up
  return Await("ncclCommInitRankConfig",
               ncclCommInitRankConfig(&comm_, world_size(), id, rank(), &config),
               timeouts_.progress);
}

NcclCommunicator::~NcclCommunicator() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  leaving_changed_.notify_all();
  if (watchdog_.joinable()) watchdog_.join();
  const std::lock_guard lock(mutex_);
  if (comm_ != nullptr) {
    // Together with the others, whose sums may still read this GPU's memory. Await aborts when they
    // do not come: after an error, ranks may leave at different points.
    const absl::Status status =
        Await("ncclCommFinalize", ncclCommFinalize(comm_), timeouts_.leaving);
    if (status.ok()) ncclCommDestroy(comm_);
  }
  if (stream_ != nullptr) {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  for (CUevent_st* event : {produced_, reduced_}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

// A call of a communicator that does not block has only been accepted when it is no longer in
// progress: until then its work may not be in the stream.
absl::Status NcclCommunicator::Await(absl::string_view call, ncclResult_t result,
                                     Clock::duration timeout) {
  const Clock::time_point end = Clock::now() + timeout;
  while (result == ncclInProgress) {
    if (Clock::now() > end) {
      return Fail(absl::StrCat(call, " makes no progress"),
                  absl::StrCat("given up after ", timeout / std::chrono::milliseconds(1), " ms"));
    }
    std::this_thread::sleep_for(kCallPoll);
    if (const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result); asked != ncclSuccess) {
      result = asked;
    }
  }
  return result == ncclSuccess ? absl::OkStatus() : FailBy(call, result);
}

absl::Status NcclCommunicator::FailBy(absl::string_view call, ncclResult_t result) {
  std::string reason = ncclGetErrorString(result);
  const char* details = comm_ == nullptr ? nullptr : ncclGetLastError(comm_);
  if (details != nullptr && *details != 0) absl::StrAppend(&reason, " (", details, ")");
  return Fail(absl::StrCat(call, " failed"), reason);
}

absl::Status NcclCommunicator::Fail(absl::string_view what, absl::string_view reason) {
  failure_ = DeviceError(what, Where(), reason);
  // Here too: Agree passes on one rank's failure, and the cause may be another's.
  LogWarning(failure_.message());
  if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
  return failure_;
}

absl::Status NcclCommunicator::StartAllReduceSum(std::span<float> values) {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(CheckRunningSums());
  if (values.empty()) return absl::OkStatus();
  cudaPointerAttributes memory;
  RETURN_IF_ERROR(
      CheckCuda(cudaPointerGetAttributes(&memory, values.data()), "cudaPointerGetAttributes"));
  CHECK(memory.type == cudaMemoryTypeDevice || memory.type == cudaMemoryTypeManaged)
      << "StartAllReduceSum of NCCL's communicator takes memory of the GPU";
  RETURN_IF_ERROR(CheckCuda(cudaEventRecord(produced_, compute_stream_), "cudaEventRecord"));
  RETURN_IF_ERROR(CheckCuda(cudaStreamWaitEvent(stream_, produced_, 0), "cudaStreamWaitEvent"));
  started_ = true;
  return Await("ncclAllReduce",
               ncclAllReduce(values.data(), values.data(), values.size(), ncclFloat32, ncclSum,
                             comm_, stream_),
               timeouts_.progress);
}

absl::Status NcclCommunicator::WaitAll() {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(CheckRunningSums());
  if (!started_) return absl::OkStatus();
  started_ = false;
  RETURN_IF_ERROR(CheckCuda(cudaEventRecord(reduced_, stream_), "cudaEventRecord"));
  must_be_reduced_ = Clock::now() + timeouts_.progress;
  return CheckCuda(cudaStreamWaitEvent(compute_stream_, reduced_, 0), "cudaStreamWaitEvent");
}

absl::Status NcclCommunicator::CheckRunningSums() {
  RETURN_IF_ERROR(failure_);
  ncclResult_t result = ncclSuccess;
  if (const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result); asked != ncclSuccess) {
    result = asked;
  }
  if (result != ncclSuccess && result != ncclInProgress) return FailBy("a sum of NCCL", result);
  // The event is looked at once, at the end of its time.
  if (must_be_reduced_.has_value() && Clock::now() > *must_be_reduced_) {
    must_be_reduced_.reset();
    if (cudaEventQuery(reduced_) == cudaErrorNotReady) {
      return Fail("sums of NCCL do not end",
                  absl::StrCat("given up after ", timeouts_.progress.count(), " ms"));
    }
  }
  return absl::OkStatus();
}

void NcclCommunicator::Watch() {
  cudaSetDevice(gpu_);  // a thread's own setting
  std::unique_lock lock(mutex_);
  while (!leaving_ && failure_.ok()) {
    leaving_changed_.wait_for(lock, kWatchdogPoll);
    if (!leaving_) (void)CheckRunningSums();  // the next call of the owner returns it
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(Communicator& host,
                                                                   CUstream_st* compute_stream,
                                                                   const NcclTimeouts& timeouts) {
  if (host.world_size() == 1) return std::make_unique<SingleCommunicator>();
  auto made = std::make_unique<NcclCommunicator>(host, compute_stream, timeouts);
  absl::Status status = made->Create();
  ncclUniqueId id = {};
  if (status.ok() && host.rank() == 0) {
    if (const ncclResult_t result = ncclGetUniqueId(&id); result != ncclSuccess) {
      status = DeviceError("ncclGetUniqueId failed", "", ncclGetErrorString(result));
    }
  }
  RETURN_IF_ERROR(host.Agree(status));
  RETURN_IF_ERROR(made->CheckOwnGpu());
  RETURN_IF_ERROR(host.Broadcast({id.internal, sizeof(id.internal)}, 0));
  RETURN_IF_ERROR(host.Agree(made->Join(id)));
  made->StartWatchdog();
  return made;
}

}  // namespace sluice
