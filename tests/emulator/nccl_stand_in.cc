// NCCL on the emulator: exactly the calls that src/comm/nccl_communicator.cc makes, on
// communicators that do not block. Each checks what the library documents for it and stops the
// program with a sentence where the library would return an error, hang, or sum nonsense. Sums are
// taken in the order of ranks, so the bits are the same everywhere and always.
//
// As documented, a call that returns ncclInProgress has not put its work into the stream yet: here
// that happens in a later ncclCommGetAsyncError, so who goes on without asking is caught by the
// checks of order.
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "emulator/library_access.h"
#include "emulator/nccl_ranks.h"
#include "emulator/report.h"
#include "emulator/runtime.h"

struct ncclComm {
  sluice::emulator::NcclRanks ranks;
  const int rank, rank_count;
  ncclResult_t state = ncclInProgress;
  std::string reason = {};             // of the last error
  std::function<void()> pending = {};  // what polling gets done; null: nothing can (a stall)
  int polls_before_it = 1;
  bool finalized = false;
};

namespace sluice::emulator {
namespace {

std::mutex mutex;  // of what follows
std::set<const ncclComm*>& Communicators() {
  static std::set<const ncclComm*> communicators;
  return communicators;
}

ncclComm& Known(ncclComm_t comm, const char* call) {
  const std::lock_guard lock(mutex);
  if (Communicators().count(comm) == 0) FailOnHost("%s: the communicator does not exist", call);
  return *comm;
}
// One that may be given work.
ncclComm& Ready(ncclComm_t comm, const char* call) {
  ncclComm& known = Known(comm, call);
  if (known.state == ncclInProgress) {
    FailOnHost("%s: the call before is in progress: ncclCommGetAsyncError says when it is done",
               call);
  }
  if (known.state != ncclSuccess) {
    FailOnHost("%s: the communicator has failed (%s); only ncclCommAbort may follow", call,
               known.reason.c_str());
  }
  if (known.finalized) FailOnHost("%s: the communicator is finalized", call);
  return known;
}
void Delete(ncclComm_t comm) {
  {
    const std::lock_guard lock(mutex);
    Communicators().erase(comm);
  }
  delete comm;
}

void Break(ncclComm& comm, ncclResult_t state, const std::string& reason) {
  comm.state = state;
  comm.reason = reason;
}
void BreakByPeer(ncclComm& comm) {
  Break(comm, ncclRemoteError, "rank " + std::to_string(comm.ranks.aborted_rank()) + " aborted");
}

ncclResult_t Defer(ncclComm& comm, std::function<void()> work) {
  comm.state = ncclInProgress;
  comm.polls_before_it = 1;
  comm.pending = std::move(work);
  return ncclInProgress;
}

// SLUICE_EMULATOR_NCCL_FAULT=RANK:CALL:error or RANK:CALL:stall: what that all-reduce does.
std::string FaultOf(int rank, u64 call) {
  const char* text = std::getenv("SLUICE_EMULATOR_NCCL_FAULT");
  int fault_rank = 0;
  unsigned long fault_call = 0;
  char kind[16] = "";
  if (text == nullptr || std::sscanf(text, "%d:%lu:%15s", &fault_rank, &fault_call, kind) != 3 ||
      fault_rank != rank || fault_call != call) {
    return "";
  }
  return kind;
}

void CheckConfig(const ncclConfig_t* config) {
  const ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
  if (config == nullptr) FailOnHost("ncclCommInitRankConfig: no config: it would block");
  if (config->size != initial.size || config->magic != initial.magic ||
      config->version != initial.version) {
    FailOnHost("ncclCommInitRankConfig: the config is not of NCCL_CONFIG_INITIALIZER");
  }
  if (config->blocking != 0) {
    FailOnHost("ncclCommInitRankConfig: only communicators with blocking = 0 are stood in for");
  }
}

// In place or apart.
struct Sum {
  const void* send;
  void* receive;
  size_t count;
  cudaStream_t stream;
};

void CheckSum(const Sum& sum, ncclDataType_t type, ncclRedOp_t operation) {
  if (type != ncclFloat32 || operation != ncclSum) {
    FailOnHost("ncclAllReduce: only sums of float32 are stood in for, not type %d, operation %d",
               type, operation);
  }
  if (sum.stream == nullptr) {
    FailOnHost("ncclAllReduce: the default stream, with which others synchronize");
  }
  const auto send = reinterpret_cast<u64>(sum.send), receive = reinterpret_cast<u64>(sum.receive);
  if (send % sizeof(float) != 0 || receive % sizeof(float) != 0) {
    FailOnHost("ncclAllReduce: %p or %p is not aligned to the type's 4 bytes", sum.send,
               sum.receive);
  }
  const u64 bytes = sum.count * sizeof(float);
  if (send != receive && send < receive + bytes && receive < send + bytes) {
    FailOnHost("ncclAllReduce: the buffers overlap without being the same");
  }
}

// Chunk by chunk through the ranks' shared memory.
bool SumChunks(ncclComm& comm, const float* send, float* receive, size_t count) {
  constexpr size_t kChunk = kNcclChunkBytes / sizeof(float);
  for (size_t begin = 0; begin < count; begin += kChunk) {
    const size_t values = std::min(kChunk, count - begin);
    std::memcpy(comm.ranks.Data(comm.rank), send + begin, values * sizeof(float));
    if (!comm.ranks.Meet()) return false;
    float* out = receive + begin;
    std::memcpy(out, comm.ranks.Data(0), values * sizeof(float));
    for (int rank = 1; rank < comm.rank_count; ++rank) {
      const auto* other = reinterpret_cast<const float*>(comm.ranks.Data(rank));
      for (size_t i = 0; i < values; ++i) out[i] += other[i];
    }
    if (!comm.ranks.Meet()) return false;
  }
  return true;
}

void DoSum(ncclComm& comm, const Sum& sum) {
  const std::string fault = FaultOf(comm.rank, comm.ranks.call_count() + 1);
  if (fault == "error") return Break(comm, ncclSystemError, "the fault that was asked for");
  const Task task = BeginTask(sum.stream, "ncclAllReduce");
  const size_t bytes = sum.count * sizeof(float);
  const u8* send = ReachFromLibrary(task, sum.send, bytes, Access::kRead, "sendbuff");
  u8* receive = ReachFromLibrary(task, sum.receive, bytes, Access::kWrite, "recvbuff");
  // The end is met too: the next call's text must not be there before all have read this one's.
  const bool done = comm.ranks.MeetWith("ncclAllReduce of " + std::to_string(sum.count) +
                                        " values of float32, sum") &&
                    SumChunks(comm, reinterpret_cast<const float*>(send),
                              reinterpret_cast<float*>(receive), sum.count) &&
                    comm.ranks.Meet();
  if (!done) return BreakByPeer(comm);
  comm.state = ncclSuccess;
}

void PollOnce(ncclComm& comm) {
  if (comm.state == ncclInProgress) {
    if (comm.finalized) {
      if (comm.ranks.AllHaveLeft()) comm.state = ncclSuccess;
    } else if (comm.pending != nullptr && comm.polls_before_it-- == 0) {
      std::exchange(comm.pending, nullptr)();
    }
  } else if (comm.state == ncclSuccess && !comm.finalized && comm.ranks.aborted_rank() >= 0) {
    BreakByPeer(comm);
  }
}

}  // namespace
}  // namespace sluice::emulator

using namespace sluice::emulator;  // NOLINT: these are the library's own names

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "in progress";
    default:
      return "an error of the library";
  }
}
const char* ncclGetLastError(ncclComm_t comm) {
  return Known(comm, "ncclGetLastError").reason.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> made = 0;
  *id = {};
  std::snprintf(
      id->internal, sizeof id->internal, "/sluice_nccl_%d_%d_%lld", getpid(), made.fetch_add(1),
      static_cast<long long>(std::chrono::steady_clock::now().time_since_epoch().count()));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int rank_count, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  CheckConfig(config);
  if (rank_count < 1 || rank_count > kMostNcclRanks || rank < 0 || rank >= rank_count) {
    FailOnHost("ncclCommInitRankConfig: rank %d of %d", rank, rank_count);
  }
  if (std::strncmp(id.internal, "/sluice_nccl_", 13) != 0 ||
      std::memchr(id.internal, 0, 128) == nullptr) {
    FailOnHost("ncclCommInitRankConfig: the id of rank %d is not of ncclGetUniqueId", rank);
  }
  int device = 0;
  cudaGetDevice(&device);
  *comm = new ncclComm{{id.internal, rank, rank_count, DeviceOfMachine(device)}, rank, rank_count};
  {
    const std::lock_guard lock(mutex);
    Communicators().insert(*comm);
  }
  return Defer(**comm, [made = *comm] {
    if (!made->ranks.MeetFirst()) return BreakByPeer(*made);
    made->state = ncclSuccess;
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  ncclComm& known = Known(comm, "ncclCommGetAsyncError");
  PollOnce(known);
  *error = known.state;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  ncclComm& ready = Ready(comm, "ncclAllReduce");
  const Sum sum = {send, receive, count, stream};
  CheckSum(sum, type, operation);
  if (FaultOf(ready.rank, ready.ranks.call_count() + 1) == "stall") return Defer(ready, nullptr);
  return Defer(ready, [&ready, sum] { DoSum(ready, sum); });
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  ncclComm& ready = Ready(comm, "ncclCommFinalize");
  ready.finalized = true;
  ready.state = ncclInProgress;
  ready.ranks.Leave(NcclState::kFinalized);
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const ncclComm& known = Known(comm, "ncclCommDestroy");
  if (!known.finalized || known.state != ncclSuccess) {
    FailOnHost("ncclCommDestroy: the communicator is not finalized: this would block");
  }
  Delete(comm);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  Known(comm, "ncclCommAbort").ranks.Leave(NcclState::kAborted);
  Delete(comm);
  return ncclSuccess;
}

}  // extern "C"
