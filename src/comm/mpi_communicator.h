// Ranks as processes: Open MPI. Decides at the start of a process whether it is one of several
// ranks, and owns MPI's life.
//
// A process that was not started by mpirun (or srun --mpi=pmix) never calls MPI_Init: MPI as a
// singleton wants a working network set-up and refuses root in some containers, and one rank needs
// none of it.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<MpiEnvironment> mpi, MpiEnvironment::Start());
//   Communicator& comm = mpi->communicator();
//
// All ranks end together: bring errors to comm.Agree() at the points where ranks meet, and let
// MpiEnvironment finalize MPI. A rank that must stop at another point calls AbortAllRanks, for
// others may be waiting for it in a collective.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace sluice {

class MpiEnvironment {
 public:
  // Initializes MPI when the environment says that a launcher of MPI started this process, else
  // stands for one rank. Only the calling thread may use communicator() (MPI_THREAD_FUNNELED;
  // CHECKed). UsageError when a launcher started several tasks that cannot find each other through
  // Open MPI; DeviceError when MPI fails. At most one at a time, and MPI cannot start twice.
  static absl::StatusOr<std::unique_ptr<MpiEnvironment>> Start();

  // Finalizes MPI, for which all ranks must come here.
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  Communicator& communicator() { return *communicator_; }

 private:
  MpiEnvironment() = default;

  bool started_mpi_ = false;
  std::unique_ptr<Communicator> communicator_;
};

// Ends this process with `exit_code` at once, and with it every other rank, wherever it is:
// MPI_Abort when MPI runs, _Exit otherwise. For mains, when Agree is out of reach. stdout and
// stderr are flushed; no destructor runs.
[[noreturn]] void AbortAllRanks(int exit_code);

}  // namespace sluice
