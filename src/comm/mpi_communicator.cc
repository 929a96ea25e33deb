#include "comm/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/agree.h"
#include "comm/single_communicator.h"
#include "core/check.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"

namespace sluice {
namespace {

// MPI counts are int. Larger calls are split at this many elements.
constexpr size_t kLargestCount = size_t{1} << 30;

std::string MpiErrorText(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return absl::StrCat("code ", code);
  return std::string(text, static_cast<size_t>(length));
}

template <typename T>
MPI_Datatype DatatypeOf() = delete;
template <>
MPI_Datatype DatatypeOf<float>() {
  return MPI_FLOAT;
}
template <>
MPI_Datatype DatatypeOf<double>() {
  return MPI_DOUBLE;
}
template <>
MPI_Datatype DatatypeOf<int64_t>() {
  return MPI_INT64_T;
}

// "mpi (Open MPI 4.1.4)" from "Open MPI v4.1.4, package: …".
std::string LibraryName() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "mpi";
  std::string version(text, static_cast<size_t>(length));
  version = version.substr(0, version.find(','));
  const size_t v = version.find(" v");
  if (v != std::string::npos) version.erase(v + 1, 1);
  return absl::StrCat("mpi (", version, ")");
}

class MpiCommunicator : public Communicator {
 public:
  static absl::StatusOr<std::unique_ptr<Communicator>> Create();
  ~MpiCommunicator() override;

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  std::string name() const override { return LibraryName(); }

  absl::Status AllReduceSum(std::span<float> values) override { return Reduce(values, MPI_SUM); }
  absl::Status AllReduceSum(std::span<double> values) override { return Reduce(values, MPI_SUM); }
  absl::Status AllReduceSum(std::span<int64_t> values) override { return Reduce(values, MPI_SUM); }
  absl::Status AllReduceMax(std::span<int64_t> values) override { return Reduce(values, MPI_MAX); }
  absl::Status StartAllReduceSum(std::span<float> values) override;
  absl::Status WaitAll() override;
  absl::Status Broadcast(std::span<char> bytes, int root) override;
  absl::Status Barrier() override;
  absl::Status Agree(const absl::Status& status) override {
    return AgreeByCollectives(*this, status);
  }

 private:
  MpiCommunicator() : thread_(std::this_thread::get_id()) {}

  absl::Status Check(int code, absl::string_view call) const {
    if (code == MPI_SUCCESS) return absl::OkStatus();
    return DeviceError(absl::StrCat(call, " failed"),
                       absl::StrCat("rank ", rank_, " of ", world_size_), MpiErrorText(code));
  }
  void CheckThread() const {
    CHECK(std::this_thread::get_id() == thread_)
        << "MPI is used by the thread that started it only";
  }
  absl::Status FindLocalRank();

  template <typename T>
  absl::Status Reduce(std::span<T> values, MPI_Op operation) {
    CheckThread();
    for (size_t begin = 0; begin < values.size(); begin += kLargestCount) {
      const int count = static_cast<int>(std::min(kLargestCount, values.size() - begin));
      RETURN_IF_ERROR(Check(MPI_Allreduce(MPI_IN_PLACE, values.data() + begin, count,
                                          DatatypeOf<T>(), operation, comm_),
                            "MPI_Allreduce"));
    }
    return absl::OkStatus();
  }

  const std::thread::id thread_;
  MPI_Comm comm_ = MPI_COMM_NULL;  // a duplicate of the world, so that nobody else's calls mix in
  int rank_ = 0;
  int world_size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::vector<MPI_Request> requests_;  // started and not waited for
};

absl::StatusOr<std::unique_ptr<Communicator>> MpiCommunicator::Create() {
  std::unique_ptr<MpiCommunicator> made(new MpiCommunicator);
  RETURN_IF_ERROR(made->Check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                              "MPI_Comm_set_errhandler"));
  RETURN_IF_ERROR(made->Check(MPI_Comm_dup(MPI_COMM_WORLD, &made->comm_), "MPI_Comm_dup"));
  RETURN_IF_ERROR(made->Check(MPI_Comm_set_errhandler(made->comm_, MPI_ERRORS_RETURN),
                              "MPI_Comm_set_errhandler"));
  RETURN_IF_ERROR(made->Check(MPI_Comm_rank(made->comm_, &made->rank_), "MPI_Comm_rank"));
  RETURN_IF_ERROR(made->Check(MPI_Comm_size(made->comm_, &made->world_size_), "MPI_Comm_size"));
  RETURN_IF_ERROR(made->FindLocalRank());
  return std::unique_ptr<Communicator>(std::move(made));
}

absl::Status MpiCommunicator::FindLocalRank() {
  MPI_Comm machine = MPI_COMM_NULL;
  RETURN_IF_ERROR(
      Check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine),
            "MPI_Comm_split_type"));
  absl::Status status = Check(MPI_Comm_rank(machine, &local_rank_), "MPI_Comm_rank");
  status.Update(Check(MPI_Comm_size(machine, &local_size_), "MPI_Comm_size"));
  status.Update(Check(MPI_Comm_free(&machine), "MPI_Comm_free"));
  return status;
}

MpiCommunicator::~MpiCommunicator() {
  if (comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
}

absl::Status MpiCommunicator::StartAllReduceSum(std::span<float> values) {
  CheckThread();
  // Open MPI moves messages only inside its calls: each start also drives the earlier ones.
  if (!requests_.empty()) {
    int all_done = 0;
    RETURN_IF_ERROR(Check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(),
                                      &all_done, MPI_STATUSES_IGNORE),
                          "MPI_Testall"));
  }
  for (size_t begin = 0; begin < values.size(); begin += kLargestCount) {
    const int count = static_cast<int>(std::min(kLargestCount, values.size() - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    RETURN_IF_ERROR(Check(MPI_Iallreduce(MPI_IN_PLACE, values.data() + begin, count, MPI_FLOAT,
                                         MPI_SUM, comm_, &request),
                          "MPI_Iallreduce"));
    requests_.push_back(request);
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::WaitAll() {
  CheckThread();
  const int code =
      MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  requests_.clear();
  return Check(code, "MPI_Waitall");
}

absl::Status MpiCommunicator::Broadcast(std::span<char> bytes, int root) {
  CheckThread();
  CHECK(root >= 0 && root < world_size_) << "root " << root;
  for (size_t begin = 0; begin < bytes.size(); begin += kLargestCount) {
    const int count = static_cast<int>(std::min(kLargestCount, bytes.size() - begin));
    RETURN_IF_ERROR(
        Check(MPI_Bcast(bytes.data() + begin, count, MPI_CHAR, root, comm_), "MPI_Bcast"));
  }
  return absl::OkStatus();
}

absl::Status MpiCommunicator::Barrier() {
  CheckThread();
  return Check(MPI_Barrier(comm_), "MPI_Barrier");
}

// What launchers say in the environment.
bool HasVariable(const char* name) { return std::getenv(name) != nullptr; }
int IntegerVariable(const char* name) {
  int value = 0;
  const char* text = std::getenv(name);
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : 0;
}

bool StartedByOpenMpi() { return HasVariable("OMPI_COMM_WORLD_SIZE") || HasVariable("PMIX_RANK"); }

// Several tasks that would each take themselves for the only rank, and write over each other.
absl::Status RefuseForeignLauncher() {
  if (const int tasks = IntegerVariable("SLURM_STEP_NUM_TASKS"); tasks > 1) {
    return UsageError("srun started several tasks without MPI: use srun --mpi=pmix, or mpirun", "",
                      absl::StrCat("SLURM_STEP_NUM_TASKS=", tasks));
  }
  if (const int tasks = IntegerVariable("PMI_SIZE"); tasks > 1) {
    return UsageError("started by another MPI's launcher: use Open MPI's mpirun", "",
                      absl::StrCat("PMI_SIZE=", tasks));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<MpiEnvironment>> MpiEnvironment::Start() {
  std::unique_ptr<MpiEnvironment> environment(new MpiEnvironment);
  if (!StartedByOpenMpi()) {
    RETURN_IF_ERROR(RefuseForeignLauncher());
    environment->communicator_ = std::make_unique<SingleCommunicator>();
    return environment;
  }
  int provided = MPI_THREAD_SINGLE;
  if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
      code != MPI_SUCCESS) {
    return DeviceError("MPI_Init_thread failed", "", MpiErrorText(code));
  }
  environment->started_mpi_ = true;
  if (provided < MPI_THREAD_FUNNELED) {
    return DeviceError("this MPI does not allow threads", "",
                       absl::StrCat("wanted level ", MPI_THREAD_FUNNELED, ", got ", provided));
  }
  ASSIGN_OR_RETURN(environment->communicator_, MpiCommunicator::Create());
  return environment;
}

MpiEnvironment::~MpiEnvironment() {
  communicator_.reset();
  if (!started_mpi_) return;
  if (const int code = MPI_Finalize(); code != MPI_SUCCESS) {
    LogWarning(absl::StrCat("MPI_Finalize failed: ", MpiErrorText(code)));
  }
}

void AbortAllRanks(int exit_code) {
  std::fflush(stdout);
  std::fflush(stderr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace sluice
