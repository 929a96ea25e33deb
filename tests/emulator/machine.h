// The state of a block and of its warps while they run, and what operations may do to it.
#pragma once

#include <vector>

#include "emulator/program.h"

namespace sluice::emulator {

// What is known of two bytes of shared memory. A time is the number of block barriers so far,
// shifted left by 8, plus the number of warp barriers of that warp since: two accesses by different
// threads are ordered if there was a block barrier in between, or, within a warp, a warp barrier.
struct Shadow {
  u32 write_time, read_time;
  u16 writer, reader;  // threads
  u8 written : 1;
  u8 in_flight : 1;  // a cp.async writes here that nobody waited for
  u8 red_zone : 1;
  u8 lanes_read : 1;  // more than one lane of the reader's warp read at read_time
  u8 warps_read : 1;  // more than one warp did
};

// A cp.async that is on its way.
struct AsyncCopy {
  u64 source;
  u32 destination, bytes, source_bytes, group;
  u8 lane;
};

struct LaunchShape {
  unsigned grid[3], block[3];
  size_t dynamic_shared_bytes;
  u32 threads() const { return block[0] * block[1] * block[2]; }
  u32 blocks() const { return grid[0] * grid[1] * grid[2]; }
};

struct Block;
struct Task;

// Lanes of a warp that diverged are groups at different places; the one at the lowest place goes
// on. Lanes that wait at a synchronizing instruction for others of its mask are left out until
// these come.
struct Warp {
  enum State { kRunning, kAtBarrier, kDone };

  u8* registers;
  u32* predicates;
  Block* block;
  int index;
  u32 live;    // lanes that have not exited
  u32 active;  // lanes that execute now, at pc
  u32 pc;
  u32 others = 0;      // live lanes at places of their own, lane_pc
  u32 waiting = 0;     // those of the others that wait at a synchronizing instruction
  u32 merge_pc = ~0u;  // the lowest place of the others that do not wait
  bool stuck = false;  // all of the others wait
  u32 lane_pc[32];
  State state = kRunning;
  const Instruction* barrier = nullptr;  // that it waits at
  u32 barrier_id = 0, barrier_threads = 0;
  u32 time;
  std::vector<AsyncCopy> copies;
  u32 committed[32] = {};                // groups of cp.async, by lane
  u64 cached_begin = 0, cached_end = 0;  // the part of global memory accessed last
  s64 cached_shift = 0;                  // from there to where the emulator reaches it
};

struct Block {
  const Kernel* kernel;
  const LaunchShape* shape;
  void** arguments;
  const Task* task;  // the launch (memory_order.h)
  u32 number;        // in the grid
  u32 index[3];
  u8* shared;
  u32 shared_bytes;
  Shadow* shadow;
  u8* local;
  std::vector<Warp> warps;

  // The lanes that warp number `warp` has.
  u32 LanesOf(int warp) const {
    const u32 rest = shape->threads() - static_cast<u32>(warp) * 32;
    return rest >= 32 ? ~0u : (1u << rest) - 1;
  }
};

// Stops the program with the source line, the inlining chain, the block and the thread; `lane` < 0:
// the warp as a whole.
[[noreturn]] void Fail(const Warp& warp, const Instruction& instruction, int lane,
                       const char* format, ...) __attribute__((format(printf, 4, 5)));
// "(1,0,0)"
std::string ThreadName(const Block& block, u32 thread);

// ---- divergence (divergence.cc)
void Branch(Warp& warp, u32 taken, u32 target);
void Exit(Warp& warp, u32 lanes);
// The active lanes wait at this instruction for others; false if none is on its way.
bool WaitForOthers(Warp& warp);
// Those that wait at the warp's place become active.
void JoinWaiting(Warp& warp);
// The active lanes go to `pc` and the group at the lowest place goes on.
void Yield(Warp& warp, u32 pc);

// ---- barriers (control.cc)
// What bar.red hands out to the warps that wait at one barrier, before they go on.
void FinishBarrier(const std::vector<Warp*>& warps);

// ---- global memory (global_memory.cc)
enum class Access { kRead, kWrite, kAtomic };
// Where the emulator reaches device address `at`, after all checks.
u8* GlobalAddress(Warp& warp, const Instruction& instruction, int lane, u64 at, u32 bytes,
                  Access access);

// The choice of the operations, by family; null when it is another's (each in the file of that
// name). They set what else the operation reads of the instruction.
struct Opcode;
Operation SelectArithmetic(Instruction& instruction, const Opcode& opcode);
Operation SelectBits(Instruction& instruction, const Opcode& opcode);
Operation SelectComparison(Instruction& instruction, const Opcode& opcode);
Operation SelectConversion(Instruction& instruction, const Opcode& opcode);
Operation SelectHalf(Instruction& instruction, const Opcode& opcode);
Operation SelectMemory(Instruction& instruction, const Opcode& opcode);
Operation SelectAtomic(Instruction& instruction, const Opcode& opcode);
Operation SelectWarp(Instruction& instruction, const Opcode& opcode);
Operation SelectMatrix(Instruction& instruction, const Opcode& opcode);
Operation SelectAsyncCopy(Instruction& instruction, const Opcode& opcode);
Operation SelectControl(Instruction& instruction, const Opcode& opcode);
// Sets instruction.run; an unknown opcode stops the program only when it is executed.
void SelectOperation(Instruction& instruction, const Opcode& opcode);

}  // namespace sluice::emulator
