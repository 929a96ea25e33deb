// Ranks that train on a GPU each: sums of device memory by NCCL, and everything that lies in host
// memory by the communicator that the ranks have already (MPI), which also brings NCCL's id to all.
//
// StartAllReduceSum takes memory of the GPU here (CHECKed), and neither it nor WaitAll makes the
// host wait for the GPU. Sums run in a stream of their own: one waits for what the compute stream
// holds when it is started, and what is put into the compute stream after WaitAll waits for all
// sums. A sum has the same bits on every rank; from run to run they are the same as long as NCCL
// finds the same machines and cards, and so chooses the same algorithm.
//
// A GPU that waits for a lost peer would wait for ever, so a thread asks NCCL for errors and
// watches the time. When something failed, NCCL is aborted, which ends what the GPU waits in; what
// the sums then hold is of no use. Every call after that returns the DeviceError, and Agree brings
// it to all ranks.
#pragma once

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

struct CUstream_st;  // cudaStream_t's, without CUDA's headers

namespace sluice {

struct NcclTimeouts {
  // For a call to be accepted, and for sums to be done after WaitAll, with the computation before
  // them and what slower ranks still have to do.
  std::chrono::milliseconds progress = std::chrono::minutes(10);
  // For the other ranks to come to the end too; after it this rank leaves alone.
  std::chrono::milliseconds leaving = std::chrono::seconds(10);
};

// All ranks of `host` call this together, each with its own GPU current (Device::Open chooses it by
// local rank). `host` and `compute_stream`, a stream of that GPU, outlive the result. With one rank
// there is nothing to sum, and NCCL is not touched. DeviceError, the same on all ranks, when NCCL
// fails, and in a build without NCCL when there are several ranks.
absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(
    Communicator& host, CUstream_st* compute_stream, const NcclTimeouts& timeouts = {});

}  // namespace sluice
