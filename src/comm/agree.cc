#include "comm/agree.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// The error that carries `code`, with a message that is complete already.
absl::Status ErrorOf(ExitCode code, absl::string_view message) {
  switch (code) {
    case ExitCode::kUsage:
      return UsageError(message);
    case ExitCode::kData:
      return DataError(message);
    case ExitCode::kCheckpoint:
      return CheckpointError(message);
    case ExitCode::kDiverged:
      return DivergedError(message);
    case ExitCode::kResumable:
      return StoppedOnRequest(message);
    case ExitCode::kDone:
    case ExitCode::kDevice:
      break;
  }
  return DeviceError(message);
}

}  // namespace

absl::Status AgreeByCollectives(Communicator& comm, const absl::Status& status) {
  if (comm.world_size() == 1) return status;
  // The lowest failing rank has the highest bid; 0 is no failure.
  int64_t bid = status.ok() ? 0 : comm.world_size() - comm.rank();
  RETURN_IF_ERROR(comm.AllReduceMax({&bid, 1}));
  if (bid == 0) return absl::OkStatus();
  const int failing_rank = comm.world_size() - static_cast<int>(bid);

  std::string message(status.message());
  int64_t header[2] = {static_cast<int64_t>(ExitCodeOf(status)),
                       static_cast<int64_t>(message.size())};
  RETURN_IF_ERROR(comm.Broadcast({reinterpret_cast<char*>(header), sizeof(header)}, failing_rank));
  message.resize(header[1]);
  RETURN_IF_ERROR(comm.Broadcast({message.data(), message.size()}, failing_rank));
  return ErrorOf(static_cast<ExitCode>(header[0]),
                 absl::StrCat("rank ", failing_rank, ": ", message));
}

absl::StatusOr<std::string> TextOfRankZero(Communicator& comm,
                                           const absl::StatusOr<std::string>& text) {
  const bool speaks = comm.rank() == 0;
  RETURN_IF_ERROR(comm.Agree(speaks ? text.status() : absl::OkStatus()));
  std::string bytes = speaks ? *text : std::string();
  auto size = static_cast<int64_t>(bytes.size());
  RETURN_IF_ERROR(comm.Broadcast({reinterpret_cast<char*>(&size), sizeof(size)}, 0));
  bytes.resize(size);
  RETURN_IF_ERROR(comm.Broadcast({bytes.data(), bytes.size()}, 0));
  return bytes;
}

}  // namespace sluice
