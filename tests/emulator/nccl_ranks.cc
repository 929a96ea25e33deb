#include "emulator/nccl_ranks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "emulator/report.h"

namespace sluice::emulator {
namespace {

static_assert(std::atomic<u64>::is_always_lock_free, "atomics are shared among processes");

double TimeoutSeconds() {
  const char* text = std::getenv("SLUICE_EMULATOR_NCCL_TIMEOUT");
  return text == nullptr ? 120 : std::atof(text);
}

}  // namespace

struct NcclRanks::Segment {
  std::atomic<int> rank_count;  // as the first rank said
  std::atomic<int> mapped;      // ranks; the last takes the name away
  NcclSlot slots[kMostNcclRanks];
  alignas(64) unsigned char data[kMostNcclRanks][kNcclChunkBytes];
};

NcclRanks::NcclRanks(const std::string& name, int rank, int rank_count, int device)
    : name_(name), rank_(rank), rank_count_(rank_count) {
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, sizeof(Segment)) != 0) {
    FailOnHost("NCCL: no shared memory %s: %s", name.c_str(), std::strerror(errno));
  }
  void* memory = mmap(nullptr, sizeof(Segment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) FailOnHost("NCCL: cannot map %s", name.c_str());
  segment_ = static_cast<Segment*>(memory);
  int said = 0;
  if (!segment_->rank_count.compare_exchange_strong(said, rank_count) && said != rank_count) {
    shm_unlink(name.c_str());
    FailOnHost("ncclCommInitRankConfig: rank %d says %d ranks, another rank %d", rank, rank_count,
               said);
  }
  NcclSlot& slot = segment_->slots[rank];
  int absent = static_cast<int>(NcclState::kAbsent);
  slot.process = getpid();
  slot.device = device;
  if (!slot.state.compare_exchange_strong(absent, static_cast<int>(NcclState::kHere))) {
    shm_unlink(name.c_str());
    FailOnHost("ncclCommInitRankConfig: two ranks call themselves rank %d", rank);
  }
  if (segment_->mapped.fetch_add(1) + 1 == rank_count) shm_unlink(name.c_str());
}

NcclRanks::~NcclRanks() { munmap(segment_, sizeof(Segment)); }

unsigned char* NcclRanks::Data(int rank) const { return segment_->data[rank]; }

u64 NcclRanks::call_count() const { return segment_->slots[rank_].call_count; }

int NcclRanks::aborted_rank() const {
  for (int rank = 0; rank < rank_count_; ++rank) {
    if (segment_->slots[rank].state == static_cast<int>(NcclState::kAborted)) return rank;
  }
  return -1;
}

void NcclRanks::Leave(NcclState how) { segment_->slots[rank_].state = static_cast<int>(how); }

bool NcclRanks::AllHaveLeft() const {
  for (int rank = 0; rank < rank_count_; ++rank) {
    if (segment_->slots[rank].state < static_cast<int>(NcclState::kFinalized)) return false;
  }
  return true;
}

std::string NcclRanks::LastCallOf(int rank) const {
  const NcclSlot& slot = segment_->slots[rank];
  const u64 count = slot.call_count;
  if (slot.state == static_cast<int>(NcclState::kAbsent)) return "has not initialized";
  const std::string left =
      slot.state == static_cast<int>(NcclState::kFinalized) ? ", and has finalized" : "";
  if (count == 0) return "has made no call" + left;
  return "has made " + std::to_string(count) + ", the last " + slot.call.text + left;
}

bool NcclRanks::HasCome(int other, u64 meeting) const {
  return segment_->slots[other].meetings.load(std::memory_order_acquire) >= meeting;
}

void NcclRanks::FailMissing(u64 meeting, double seconds) const {
  std::string missing;
  for (int other = 0; other < rank_count_; ++other) {
    if (HasCome(other, meeting)) continue;
    const NcclSlot& slot = segment_->slots[other];
    missing +=
        (missing.empty() ? "rank " : "; rank ") + std::to_string(other) + " " + LastCallOf(other);
    const bool was_here = slot.state != static_cast<int>(NcclState::kAbsent);
    if (was_here && kill(slot.process, 0) != 0 && errno == ESRCH) missing += ", and has ended";
  }
  const u64 calls = call_count();
  const std::string mine =
      calls == 0 ? "ncclCommInitRankConfig"
                 : "call " + std::to_string(calls) + ", " + segment_->slots[rank_].call.text;
  shm_unlink(name_.c_str());  // where ranks are missing, nobody else does
  FailOnHost("NCCL: rank %d of %d waited %.0f s in %s: %s", rank_, rank_count_, seconds,
             mine.c_str(), missing.c_str());
}

bool NcclRanks::Meet() {
  using Clock = std::chrono::steady_clock;
  const u64 meeting = segment_->slots[rank_].meetings.fetch_add(1, std::memory_order_acq_rel) + 1;
  const double seconds = TimeoutSeconds();
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  int spins = 0;
  for (int other = 0; other < rank_count_; ++other) {
    while (!HasCome(other, meeting)) {
      const int state = segment_->slots[other].state;
      if (HasCome(other, meeting)) break;  // and left after it
      if (state == static_cast<int>(NcclState::kAborted)) return false;
      const bool comes_no_more = state == static_cast<int>(NcclState::kFinalized);
      if (comes_no_more || Clock::now() > end) FailMissing(meeting, comes_no_more ? 0 : seconds);
      if (++spins < 200) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }
  return true;
}

bool NcclRanks::MeetFirst() {
  if (!Meet()) return false;
  for (int other = 0; other < rank_count_; ++other) {
    if (other == rank_ || segment_->slots[other].device != segment_->slots[rank_].device) continue;
    FailOnHost("ncclCommInitRankConfig: ranks %d and %d both use device %d", rank_, other,
               segment_->slots[rank_].device);
  }
  return true;
}

bool NcclRanks::MeetWith(const std::string& call) {
  NcclSlot& slot = segment_->slots[rank_];
  std::strncpy(slot.call.text, call.c_str(), sizeof slot.call.text - 1);
  slot.call_count.fetch_add(1);
  if (!Meet()) return false;
  std::string calls;
  bool differ = false;
  for (int rank = 0; rank < rank_count_; ++rank) {
    calls += (rank == 0 ? "rank " : "; rank ") + std::to_string(rank) + ": " +
             segment_->slots[rank].call.text;
    differ |= std::strcmp(segment_->slots[rank].call.text, slot.call.text) != 0;
  }
  if (differ) {
    FailOnHost("NCCL: ranks differ in call %lu: %s", static_cast<unsigned long>(call_count()),
               calls.c_str());
  }
  return true;
}

}  // namespace sluice::emulator
