#include "emulator/memory_order.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>

#include "emulator/device_memory.h"
#include "emulator/report.h"
#include "emulator/runtime_stream.h"

namespace sluice::emulator {

void Clock::Join(const Clock& other) {
  for (u32 s = 0; s < kMostStreams; ++s) tasks[s] = std::max(tasks[s], other.tasks[s]);
}

struct StreamState {
  u32 index;
  bool waits_for_default;  // as streams do that were not made "non-blocking"
  Clock clock;
};

namespace {

constexpr u32 kCellBytes = 2;
// A write or a read: who, and when in words of shared memory's times. All zero: nobody.
struct Side {
  u32 owner = 0;
  u32 thread : 10, time : 20;
  u32 many_lanes : 1, many_warps : 1;  // of a read: not only `thread`; not only its warp
};
struct Cell {
  Side write, read;
};
static_assert(sizeof(Cell) == 16);
constexpr u32 kTimeMask = (1u << 20) - 1;

// What is kept of every task.
struct TaskPlace {
  u32 first_owner;
  u32 stream, index;  // its place in the stream
};

const bool enabled = std::getenv("SLUICE_EMULATOR_IGNORE_RACES") == nullptr;

// Address space that costs nothing until it is touched.
template <typename T>
T* Reserve(u64 count) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) FailOnHost("no address space to note accesses to memory in");
  return static_cast<T*>(memory);
}

struct State {
  Cell* cells = Reserve<Cell>(DeviceRegion().bytes / kCellBytes);
  TaskPlace* tasks = Reserve<TaskPlace>(u64{1} << 32);
  std::atomic<u32> task_count{0};
  u32 next_owner = 1;
  std::deque<std::string> names;  // of tasks 1, 2, …
  StreamState default_stream = {0, false, {}};
  std::vector<StreamState*> streams = {&default_stream};  // by index; null when deleted
  u32 last_index[kMostStreams] = {};                      // tasks of each, also of deleted ones
  Clock host;
  std::mutex mutex;
};
State& TheState() {
  static State& state = *new State;
  return state;
}

StreamState& StateOf(CUstream_st* stream) {
  if (stream == nullptr) return TheState().default_stream;
  return *StateOfStream(stream);
}

// All streams that wait for the default one, and that it waits for.
template <typename Body>
void ForEachBlockingStream(const Body& body) {
  for (StreamState* stream : TheState().streams) {
    if (stream != nullptr && stream->waits_for_default) body(*stream);
  }
}

u32 TaskOf(u32 owner) {
  const State& state = TheState();
  const TaskPlace *first = state.tasks + 1, *last = first + state.task_count;
  const auto* behind = std::upper_bound(first, last, owner, [](u32 value, const TaskPlace& place) {
    return value < place.first_owner;
  });
  return static_cast<u32>(behind - state.tasks) - 1;
}

// Had the owner's task happened before this one? A kernel touches long stretches of one other's.
bool IsBefore(u32 owner, const Task& task) {
  thread_local struct { u32 asker = 0, first_owner = 0, end_owner = 0; } known;
  if (known.asker == task.number &&
      owner - known.first_owner < known.end_owner - known.first_owner) {
    return true;
  }
  const u32 number = TaskOf(owner);
  const TaskPlace& place = TheState().tasks[number];
  if (place.index > task.before.tasks[place.stream]) return false;
  known = {task.number, place.first_owner, TheState().tasks[number + 1].first_owner};
  return true;
}

// Is there no barrier between an access of the same block and this one?
bool IsUnordered(const Side& side, const Accessor& who) {
  const u32 time = who.time & kTimeMask;
  if (u32{side.time} >> 8 != time >> 8) return false;
  if (side.many_warps != 0 || side.thread / 32u != who.thread / 32) return true;
  return side.time == time && (side.thread != who.thread || side.many_lanes != 0);
}

Conflict::Kind Compare(const Side& side, const Task& task, const Accessor& who,
                       const Touch& touch) {
  if (side.owner == 0) return Conflict::kNone;
  const u32 block = side.owner - task.first_owner;
  if (block >= task.blocks + 2) {
    return IsBefore(side.owner, task) ? Conflict::kNone : Conflict::kTask;
  }
  if (touch.kernel_orders_itself) return Conflict::kNone;
  if (block == task.blocks + 1 && touch.access == Access::kAtomic) return Conflict::kNone;
  if (block != who.block) return Conflict::kBlock;
  return IsUnordered(side, who) ? Conflict::kThread : Conflict::kNone;
}

Side MakeSide(u32 owner, const Accessor& who) {
  Side side;
  side.owner = owner;
  side.thread = who.thread;
  side.time = who.time & kTimeMask;
  side.many_lanes = side.many_warps = 0;
  return side;
}

void NoteRead(Side& read, const Task& task, const Accessor& who) {
  const u32 mine = task.first_owner + who.block;
  const Side before = read;
  read = MakeSide(mine, who);
  if (before.owner - task.first_owner >= task.blocks + 2) return;
  if (before.owner != mine) {
    read.owner = task.first_owner + task.blocks;
  } else if (before.time >> 8 == read.time >> 8) {
    read.many_warps = before.many_warps | (before.thread / 32 != who.thread / 32);
    read.many_lanes = before.many_lanes | (before.thread != who.thread);
  }
}

Conflict NoteCell(Cell& cell, const Task& task, const Accessor& who, const Touch& touch) {
  if (const auto kind = Compare(cell.write, task, who, touch); kind != Conflict::kNone) {
    return {kind, true, cell.write.owner, cell.write.thread};
  }
  if (touch.access == Access::kRead) {
    NoteRead(cell.read, task, who);
    return {};
  }
  if (const auto kind = Compare(cell.read, task, who, touch); kind != Conflict::kNone) {
    return {kind, false, cell.read.owner, cell.read.thread};
  }
  const u32 block = touch.access == Access::kAtomic ? task.blocks + 1 : who.block;
  cell.write = MakeSide(task.first_owner + block, who);
  return {};
}

}  // namespace

Task BeginTask(CUstream_st* stream, const std::string& name, u32 blocks) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  StreamState& target = StateOf(stream);
  target.clock.Join(state.host);
  if (&target == &state.default_stream) {
    ForEachBlockingStream([&](StreamState& other) { target.clock.Join(other.clock); });
  } else if (target.waits_for_default) {
    target.clock.Join(state.default_stream.clock);
  }
  const u32 index = ++state.last_index[target.index];
  target.clock.tasks[target.index] = index;
  const u32 number = state.task_count + 1, first_owner = state.next_owner;
  if (first_owner + blocks + 2 < first_owner) FailOnHost("more blocks than can be told apart");
  state.next_owner += blocks + 2;
  state.tasks[number] = {first_owner, target.index, index};
  state.tasks[number + 1].first_owner = state.next_owner;
  state.names.push_back(name);
  state.task_count = number;
  return {number, first_owner, blocks, target.index, target.clock};
}

std::string TaskName(u32 owner) {
  State& state = TheState();
  const u32 number = TaskOf(owner);
  const std::lock_guard lock(state.mutex);
  return state.names[number - 1] + ", task " + std::to_string(number) + " in stream " +
         std::to_string(state.tasks[number].stream);
}

Conflict NoteAccess(const Task& task, const Accessor& who, const Touch& touch) {
  if (!enabled || touch.bytes < kCellBytes) return {};
  Cell* cell = TheState().cells + (touch.at - DeviceRegion().begin) / kCellBytes;
  Cell* const end = cell + touch.bytes / kCellBytes;
  // Neighbours mostly have the same past: then they get the same future.
  const Cell past = *cell;
  Conflict conflict = NoteCell(*cell, task, who, touch);
  const Cell future = *cell;
  for (++cell; cell < end && conflict.kind == Conflict::kNone; ++cell) {
    if (std::memcmp(cell, &past, sizeof past) == 0) {
      *cell = future;
    } else {
      conflict = NoteCell(*cell, task, who, touch);
    }
  }
  return conflict;
}

void NoteRange(const Task& task, const void* begin, size_t bytes, Access access) {
  const u64 at = reinterpret_cast<u64>(begin);
  if (!enabled || !IsDeviceAddress(at)) return;
  // A first or last single byte shares its cell with somebody else.
  const u64 first = (at + 1) / kCellBytes * kCellBytes,
            last = (at + bytes) / kCellBytes * kCellBytes;
  constexpr u64 kStep = 1 << 20;
  for (u64 part = first; part < last; part += kStep) {
    const auto part_bytes = static_cast<u32>(std::min(kStep, last - part));
    const Conflict conflict = NoteAccess(task, {}, {part, part_bytes, access, true});
    if (conflict.kind == Conflict::kNone) continue;
    FailOnHost("%s %s memory that %s %s, with no wait in between",
               TaskName(task.first_owner).c_str(), access == Access::kRead ? "reads" : "writes",
               TaskName(conflict.owner).c_str(), conflict.with_write ? "writes" : "reads");
  }
}

StreamState* NewStream(bool waits_for_default) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  auto place = std::find(state.streams.begin() + 1, state.streams.end(), nullptr);
  if (place == state.streams.end()) {
    if (state.streams.size() == kMostStreams) FailOnHost("more than %u streams", kMostStreams - 1);
    place = state.streams.insert(place, nullptr);
  }
  const auto index = static_cast<u32>(place - state.streams.begin());
  *place = new StreamState{index, waits_for_default, {}};
  return *place;
}

void DeleteStream(StreamState* stream) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  state.streams[stream->index] = nullptr;
  delete stream;
}

void RecordClock(CUstream_st* stream, Clock& clock) {
  const std::lock_guard lock(TheState().mutex);
  clock = StateOf(stream).clock;
  clock.Join(TheState().host);
}
void WaitInStream(CUstream_st* stream, const Clock& clock) {
  const std::lock_guard lock(TheState().mutex);
  StateOf(stream).clock.Join(clock);
}
void WaitOnHost(const Clock& clock) {
  const std::lock_guard lock(TheState().mutex);
  TheState().host.Join(clock);
}
void WaitOnHostForStream(CUstream_st* stream) {
  const std::lock_guard lock(TheState().mutex);
  TheState().host.Join(StateOf(stream).clock);
}
void WaitOnHostForAll() {
  const std::lock_guard lock(TheState().mutex);
  std::copy(std::begin(TheState().last_index), std::end(TheState().last_index),
            std::begin(TheState().host.tasks));
}

void ForgetRange(u64 at, u64 bytes) {
  // Allocations do not share pages, and the cells of a page fill whole pages.
  constexpr u64 kPageBytes = 4096;
  const u64 first = at / kPageBytes * kPageBytes;
  const u64 last = (at + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  Cell* cells = TheState().cells + (first - DeviceRegion().begin) / kCellBytes;
  madvise(cells, (last - first) / kCellBytes * sizeof(Cell), MADV_DONTNEED);
}

}  // namespace sluice::emulator
