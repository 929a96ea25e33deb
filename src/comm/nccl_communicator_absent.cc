// A build without CUDA, or where no NCCL was found beside it.
#include "absl/strings/str_cat.h"
#include "comm/nccl_communicator.h"
#include "comm/single_communicator.h"
#include "core/error.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(
    Communicator& host, CUstream_st* /*compute_stream*/, const NcclTimeouts& /*timeouts*/) {
  if (host.world_size() == 1) return std::make_unique<SingleCommunicator>();
  return DeviceError(
      "several ranks on GPUs need NCCL, and this build was configured without nccl.h and libnccl",
      "", absl::StrCat(host.world_size(), " ranks"));
}

}  // namespace sluice
