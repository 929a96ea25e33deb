// One rank of the MPI tests (mpi_test.sh): mpi_ranks collectives|agree|abort.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "comm/gradient_buckets.h"
#include "comm/mpi_communicator.h"
#include "core/error.h"
#include "support/collectives_check.h"

namespace sluice {
namespace {

std::string CheckBuckets(Communicator& comm) {
  std::vector<float> gradients = testing::EncodedValues<float>(comm.rank(), 20001);
  GradientBuckets buckets(comm, gradients, 4096);
  for (int64_t begin = 0; begin < 20001; begin += 300) {
    if (!buckets.MarkReady(begin, std::min<int64_t>(begin + 300, 20001)).ok()) return "MarkReady";
  }
  if (!buckets.Finish().ok()) return "Finish";
  return testing::FirstWrongSum(gradients, comm.world_size());
}

// The same bits on every rank: each rank's result equals rank 0's.
std::string CheckSameBits(Communicator& comm) {
  std::vector<float> values(5000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 1.0f / static_cast<float>(1 + (i * 7919 + comm.rank() * 104729) % 65521);
  }
  if (!comm.AllReduceSum(values).ok()) return "AllReduceSum";
  std::vector<float> of_rank_0 = values;
  if (!comm.Broadcast({reinterpret_cast<char*>(of_rank_0.data()), 4 * values.size()}, 0).ok()) {
    return "Broadcast";
  }
  return values == of_rank_0 ? "" : "ranks have different sums";
}

int Collectives(Communicator& comm) {
  for (const std::string& wrong :
       {testing::CheckCollectives(comm), CheckBuckets(comm), CheckSameBits(comm)}) {
    if (wrong.empty()) continue;
    std::printf("rank %d: WRONG: %s\n", comm.rank(), wrong.c_str());
    return 1;
  }
  std::printf("rank %d of %d, local %d of %d, %s: all well\n", comm.rank(), comm.world_size(),
              comm.local_rank(), comm.local_size(), comm.name().c_str());
  return 0;
}

// The last rank fails; all stop together.
int Agree(Communicator& comm) {
  const bool fails = comm.rank() == comm.world_size() - 1;
  const absl::Status status =
      comm.Agree(fails ? DataError("shard is truncated", "train_00003.h5") : absl::OkStatus());
  std::printf("rank %d stops: %s\n", comm.rank(), std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

// The last rank dies while the others wait for it in a collective.
int Abort(Communicator& comm) {
  if (comm.rank() == comm.world_size() - 1) {
    std::printf("rank %d aborts\n", comm.rank());
    AbortAllRanks(static_cast<int>(ExitCode::kDiverged));
  }
  (void)comm.Barrier();
  std::printf("rank %d: WRONG: the barrier returned\n", comm.rank());
  return 1;
}

int Main(const std::string& test_case) {
  absl::StatusOr<std::unique_ptr<MpiEnvironment>> mpi = MpiEnvironment::Start();
  if (!mpi.ok()) {
    std::fprintf(stderr, "%s\n", std::string(mpi.status().message()).c_str());
    return static_cast<int>(ExitCodeOf(mpi.status()));
  }
  Communicator& comm = (*mpi)->communicator();
  if (test_case == "collectives") return Collectives(comm);
  if (test_case == "agree") return Agree(comm);
  if (test_case == "abort") return Abort(comm);
  return 1;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return argc == 2 ? sluice::Main(argv[1]) : 1; }
