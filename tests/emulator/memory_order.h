// Who wrote and who read global memory, and whether the next to touch it comes after them: by the
// order of streams, events and host waits between tasks (kernels, copies, fills), by barriers
// within a block, and never between the blocks of one kernel.
//
// Kept for every 2 bytes: the last write and the last read. So what is missed: a read in one stream
// that a later read in another hides. Accesses of single bytes are not looked at.
#pragma once

#include <string>

#include "emulator/machine.h"

struct CUstream_st;
struct CUevent_st;

namespace sluice::emulator {

constexpr u32 kMostStreams = 64;

// How far each stream had come: all that happened before, as a vector clock.
struct Clock {
  u32 tasks[kMostStreams] = {};
  void Join(const Clock& other);
};

// A piece of work that was put into a stream.
struct Task {
  u32 number;  // among all, from 1
  // Who may own an access: one number a block, then one for "several blocks", one for "atomics".
  u32 first_owner, blocks;
  u32 stream;    // its index
  Clock before;  // what had happened before it, itself included
};

// The task and what it follows: its stream's earlier tasks, what the stream waited for, and what
// the host had waited for. `name` is said when it conflicts.
Task BeginTask(CUstream_st* stream, const std::string& name, u32 blocks = 1);

// Who accesses memory in a kernel.
struct Accessor {
  u32 block;
  u32 thread;
  u32 time;  // of its warp, as for shared memory (machine.h)
};
struct Conflict {
  enum Kind { kNone, kTask, kBlock, kThread } kind = kNone;
  bool with_write = false;
  u32 owner = 0, thread = 0;  // of the other
};
struct Touch {
  u64 at;
  u32 bytes;
  Access access;
  bool kernel_orders_itself;  // by fences and atomics: then nothing within it is compared
};
// Notes the access and says with whom it conflicts.
Conflict NoteAccess(const Task& task, const Accessor& who, const Touch& touch);
// For the runtime and the stand-ins of libraries: notes the whole range, and stops the program on a
// conflict. Memory that is not the device's is let through.
void NoteRange(const Task& task, const void* begin, size_t bytes, Access access);

// "kernel dropout, task 12 of stream 3"
std::string TaskName(u32 owner);

// ---- what streams, events and the host wait for
struct StreamState;
StreamState* NewStream(bool waits_for_default);
void DeleteStream(StreamState* stream);
void RecordClock(CUstream_st* stream, Clock& clock);  // all of the stream up to now
void WaitInStream(CUstream_st* stream, const Clock& clock);
void WaitOnHost(const Clock& clock);
void WaitOnHostForStream(CUstream_st* stream);
void WaitOnHostForAll();
// The memory was freed: forget it.
void ForgetRange(u64 at, u64 bytes);

}  // namespace sluice::emulator
