// Where the ranks of one NCCL communicator meet on the emulator: processes (or threads) of this
// machine, by way of POSIX shared memory that the unique id names. Ranks that do not come, or come
// with another call, stop the program with a sentence that names ranks and calls: never a hang.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>

#include "emulator/program.h"

namespace sluice::emulator {

constexpr int kMostNcclRanks = 16;
constexpr size_t kNcclChunkBytes = size_t{256} << 10;  // a rank's data at a time

// What all ranks must call alike.
struct NcclCall {
  char text[96];  // "ncclAllReduce of 8 values of type 7 by operation 0": compared as it is said
};

// Shared memory: all zeros when it is made.
struct NcclSlot {
  std::atomic<int> state;       // NcclState
  std::atomic<u64> meetings;    // how many it has come to
  std::atomic<u64> call_count;  // for messages; and its last call, which it may still be in
  NcclCall call;
  int process, device;
};
enum class NcclState : int { kAbsent, kHere, kFinalized, kAborted };

// One rank's side.
class NcclRanks {
 public:
  // Maps the memory. Stops the program when the rank is taken, or another rank has said another
  // number of ranks.
  NcclRanks(const std::string& name, int rank, int rank_count, int device);
  ~NcclRanks();
  NcclRanks(const NcclRanks&) = delete;
  NcclRanks& operator=(const NcclRanks&) = delete;

  // All ranks are here, on different devices. False when a rank has aborted.
  bool MeetFirst();
  // All ranks have come with this call. False when a rank has aborted.
  bool MeetWith(const std::string& call);
  // All ranks have come here, within SLUICE_EMULATOR_NCCL_TIMEOUT seconds (120); ends the
  // program otherwise. False when a rank has aborted: then it comes no more.
  bool Meet();
  unsigned char* Data(int rank) const;  // kNcclChunkBytes

  void Leave(NcclState how);
  bool AllHaveLeft() const;
  u64 call_count() const;
  int aborted_rank() const;  // -1: none

 private:
  struct Segment;

  bool HasCome(int other, u64 meeting) const;
  [[noreturn]] void FailMissing(u64 meeting, double seconds) const;
  std::string LastCallOf(int rank) const;

  const std::string name_;
  const int rank_, rank_count_;
  Segment* segment_ = nullptr;
};

}  // namespace sluice::emulator
