#include "emulator/memory_order.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
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
constexpr u32 kManyBlocks = ~0u;      // read by more than one block of the task
constexpr u32 kAtomically = ~0u - 1;  // written by atomics of any block

struct Side {
  u32 task;  // its number; 0 for none
  u32 block, time;
  u16 thread;
  u8 many_lanes, many_warps;  // of a read: more than `thread` and more than its warp, at that time
};
struct Cell {
  Side write, read;
};
struct TaskPlace {
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
  u32 task_count = 0;
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

bool IsBefore(u32 other, const Task& task) {
  const TaskPlace place = TheState().tasks[other];
  return place.index <= task.before.tasks[place.stream];
}

bool SameEpoch(u32 a, u32 b) { return a >> 8 == b >> 8; }

// Is there no barrier between an access of the same block and this one?
bool IsUnordered(const Side& side, const Accessor& who) {
  if (!SameEpoch(side.time, who.time)) return false;
  if (side.many_warps != 0 || side.thread / 32 != who.thread / 32) return true;
  return side.time == who.time && (side.thread != who.thread || side.many_lanes != 0);
}

Conflict Compare(const Side& side, const Task& task, const Accessor& who, const Touch& touch) {
  if (side.task == 0) return {};
  if (side.task != task.number) {
    if (IsBefore(side.task, task)) return {};
    return {Conflict::kTask, false, side.task, side.thread};
  }
  if (touch.kernel_orders_itself) return {};
  if (touch.access == Access::kAtomic && side.block == kAtomically) return {};
  if (side.block != who.block) return {Conflict::kBlock, false, side.task, side.thread};
  if (!IsUnordered(side, who)) return {};
  return {Conflict::kThread, false, side.task, side.thread};
}

void NoteRead(Side& read, const Task& task, const Accessor& who) {
  const auto thread = static_cast<u16>(who.thread);
  if (read.task != task.number) {
    read = {task.number, who.block, who.time, thread, 0, 0};
    return;
  }
  const bool same_epoch = read.block == who.block && SameEpoch(read.time, who.time);
  if (!same_epoch) {
    read.many_lanes = read.many_warps = 0;
  } else if (read.thread / 32 != who.thread / 32) {
    read.many_warps = 1;
  } else if (read.thread != who.thread) {
    read.many_lanes = 1;
  }
  read.block = read.block == who.block ? who.block : kManyBlocks;
  read.thread = thread;
  read.time = who.time;
}

Conflict NoteCell(Cell& cell, const Task& task, const Accessor& who, const Touch& touch) {
  Conflict conflict = Compare(cell.write, task, who, touch);
  if (conflict.kind != Conflict::kNone) {
    conflict.with_write = true;
    return conflict;
  }
  if (touch.access == Access::kRead) {
    NoteRead(cell.read, task, who);
    return {};
  }
  conflict = Compare(cell.read, task, who, touch);
  if (conflict.kind != Conflict::kNone) return conflict;
  const u32 block = touch.access == Access::kAtomic ? kAtomically : who.block;
  cell.write = {task.number, block, who.time, static_cast<u16>(who.thread), 0, 0};
  return {};
}

}  // namespace

Task BeginTask(CUstream_st* stream, const std::string& name) {
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
  const u32 number = ++state.task_count;
  state.tasks[number] = {target.index, index};
  state.names.push_back(name);
  return {number, target.index, target.clock};
}

std::string TaskName(u32 number) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  return state.names[number - 1] + ", task " + std::to_string(number) + " in stream " +
         std::to_string(state.tasks[number].stream);
}

Conflict NoteAccess(const Task& task, const Accessor& who, const Touch& touch) {
  if (!enabled || touch.bytes < kCellBytes) return {};
  Cell* cell = TheState().cells + (touch.at - DeviceRegion().begin) / kCellBytes;
  for (Cell* const end = cell + touch.bytes / kCellBytes; cell < end; ++cell) {
    const Conflict conflict = NoteCell(*cell, task, who, touch);
    if (conflict.kind != Conflict::kNone) return conflict;
  }
  return {};
}

void NoteRange(const Task& task, const void* begin, size_t bytes, Access access) {
  const u64 at = reinterpret_cast<u64>(begin);
  if (!enabled || !IsDeviceAddress(at)) return;
  // A first or last single byte shares its cell with somebody else.
  const u64 first = (at + 1) / kCellBytes * kCellBytes,
            last = (at + bytes) / kCellBytes * kCellBytes;
  for (u64 cell = first; cell < last; cell += kCellBytes) {
    const Conflict conflict = NoteAccess(task, {}, {cell, kCellBytes, access, true});
    if (conflict.kind == Conflict::kNone) continue;
    FailOnHost("%s %s byte %lu of memory that %s %s, with no wait in between",
               TaskName(task.number).c_str(), access == Access::kRead ? "reads" : "writes",
               static_cast<unsigned long>(cell - at), TaskName(conflict.task).c_str(),
               conflict.with_write ? "writes" : "reads");
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
