// What every Communicator must do, as one function that a rank runs: used by the thread and single
// ranks' tests and by the program under mpirun. Each value encodes its rank and its index, so a
// value that went to the wrong place, came twice or not at all shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/communicator.h"
#include "core/error.h"

namespace sluice::testing {

// Exact in float for the sizes used: at most 5 ranks, 20000 values.
inline double EncodedValue(int rank, int64_t index) {
  return static_cast<double>(100000 * (rank + 1) + index);
}
inline double EncodedSum(int world_size, int64_t index) {
  double sum = 0;
  for (int rank = 0; rank < world_size; ++rank) sum += EncodedValue(rank, index);
  return sum;
}

template <typename T>
std::vector<T> EncodedValues(int rank, int64_t count) {
  std::vector<T> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<T>(EncodedValue(rank, i));
  return values;
}

// "" or the first difference.
template <typename T>
std::string FirstWrongSum(const std::vector<T>& values, int world_size) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<T>(EncodedSum(world_size, i))) {
      return absl::StrCat("value ", i, " is ", values[i], ", expected ", EncodedSum(world_size, i));
    }
  }
  return "";
}

template <typename T>
std::string CheckSum(Communicator& comm, int64_t count) {
  std::vector<T> values = EncodedValues<T>(comm.rank(), count);
  if (const absl::Status status = comm.AllReduceSum(values); !status.ok()) {
    return std::string(status.message());
  }
  return FirstWrongSum(values, comm.world_size());
}

inline std::string CheckMax(Communicator& comm, int64_t count) {
  // Each rank has the largest value at every world_size-th index; negative values too.
  std::vector<int64_t> values(count);
  for (int64_t i = 0; i < count; ++i) {
    values[i] = i % comm.world_size() == comm.rank() ? -i : -1000000 - comm.rank();
  }
  if (const absl::Status status = comm.AllReduceMax(values); !status.ok()) {
    return std::string(status.message());
  }
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] != -i) return absl::StrCat("max ", i, " is ", values[i]);
  }
  return "";
}

inline std::string CheckOverlappedSums(Communicator& comm, const std::vector<int64_t>& counts) {
  std::vector<std::vector<float>> buckets;
  for (const int64_t count : counts) buckets.push_back(EncodedValues<float>(comm.rank(), count));
  for (std::vector<float>& bucket : buckets) {
    if (!comm.StartAllReduceSum(bucket).ok()) return "StartAllReduceSum failed";
  }
  if (!comm.WaitAll().ok()) return "WaitAll failed";
  for (const std::vector<float>& bucket : buckets) {
    if (std::string wrong = FirstWrongSum(bucket, comm.world_size()); !wrong.empty()) return wrong;
  }
  return comm.WaitAll().ok() ? "" : "WaitAll with nothing started failed";
}

inline std::string CheckBroadcast(Communicator& comm, int64_t count) {
  for (int root = 0; root < comm.world_size(); ++root) {
    std::vector<double> values = EncodedValues<double>(comm.rank(), count);
    const absl::Status status = comm.Broadcast(
        {reinterpret_cast<char*>(values.data()), values.size() * sizeof(double)}, root);
    if (!status.ok()) return std::string(status.message());
    for (int64_t i = 0; i < count; ++i) {
      if (values[i] != EncodedValue(root, i)) return absl::StrCat("broadcast from ", root, " lost");
    }
  }
  return "";
}

inline std::string CheckAgreement(Communicator& comm) {
  if (!comm.Agree(absl::OkStatus()).ok()) return "all OK, but Agree says no";
  for (int first_failing = 0; first_failing < comm.world_size(); ++first_failing) {
    const absl::Status mine =
        comm.rank() >= first_failing
            ? CheckpointError("no space left", absl::StrCat("file of rank ", comm.rank()))
            : absl::OkStatus();
    const absl::Status agreed = comm.Agree(mine);
    const std::string prefix =
        comm.world_size() > 1 ? absl::StrCat("rank ", first_failing, ": ") : "";
    const std::string expected =
        absl::StrCat(prefix, "no space left: file of rank ", first_failing);
    if (agreed.message() != expected) return absl::StrCat("agreed on \"", agreed.message(), "\"");
    if (ExitCodeOf(agreed) != ExitCode::kCheckpoint) return "the exit code was lost";
  }
  return "";
}

// All on host memory that does not overlap with computation; "" when all is well.
inline std::string CheckHostCollectives(Communicator& comm) {
  for (const int64_t count : {0, 1, 2, 3, 7, 64, 1000, 20000}) {
    for (const std::string& wrong :
         {CheckSum<float>(comm, count), CheckSum<double>(comm, count),
          CheckSum<int64_t>(comm, count), CheckMax(comm, count), CheckBroadcast(comm, count)}) {
      if (!wrong.empty()) return absl::StrCat(count, " values: ", wrong);
    }
  }
  if (std::string wrong = CheckAgreement(comm); !wrong.empty()) return wrong;
  return comm.Barrier().ok() ? "" : "Barrier failed";
}

// All of the above.
inline std::string CheckCollectives(Communicator& comm) {
  if (std::string wrong = CheckHostCollectives(comm); !wrong.empty()) return wrong;
  return CheckOverlappedSums(comm, {1000, 1, 0, 20000, 7});
}

}  // namespace sluice::testing
