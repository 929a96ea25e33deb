// PTX as the emulator holds it: a module is parsed once into kernels, a kernel is a list of
// instructions whose operands are places in a warp's register file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sluice::emulator {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

struct Warp;
struct Instruction;
struct Module;

// Executes one instruction for those of the warp's 32 lanes whose bit is set.
using Operation = void (*)(Warp& warp, const Instruction& instruction, u32 lanes);

// A register holds 32 lanes of 4 bytes (8-, 16- and 32-bit types) or of 8; a predicate is one bit a
// lane, in a u32. Constants, addresses of symbols and special registers (%tid.x) are registers too,
// so that every operand is an offset into the warp's file.
struct Register {
  u32 at;
  u8 bytes;  // a lane: 4 or 8; 1 for a predicate
};

constexpr int kMostOperands = 20;

struct Instruction {
  Operation run = nullptr;
  u32 operands[kMostOperands] = {};  // the destination first, as in the text; vectors flattened
  s32 offset = 0;                    // of an address operand
  s32 guard = -1;                    // the predicate, or -1
  bool guard_negated = false;
  bool wide_address = true;   // the address is in a 64-bit register
  bool has_sink = false;      // an operand is _
  bool synchronizes = false;  // lanes wait here for lanes that are elsewhere
  u8 count = 0;               // operands
  u8 bytes = 0;               // of a memory access, for each element
  u8 elements = 1;            // of a vector operand
  u8 register_bytes = 4;      // of the registers loaded, stored or converted
  u8 detail = 0;              // what else the operation needs to know; said at each
  u32 target = 0;             // of a branch
  int place = -1;             // in the module's places, or -1
  std::string text;           // as written in the PTX, for messages
  mutable u64 executed = 0;   // by warps; this and the following only when profiling
  mutable u64 wavefronts = 0, ideal_wavefronts = 0;  // of shared memory (profile.h)
  mutable u64 sectors = 0, ideal_sectors = 0;        // of global memory
};

// Where a variable lies. `at` is an offset in shared or local memory, in the parameters, or an
// address in global memory.
struct Symbol {
  u64 at;
  u64 bytes;
};

// A source line; parent: the place that it was inlined into, or -1.
struct Place {
  int file, line, column, parent;
};

enum class Special : u8 {
  kThread,
  kBlockSize,
  kBlock,
  kGridSize,  // with an axis
  kLane,
  kWarp,
  kMaskEqual,
  kMaskBelow,
  kMaskUpTo,
  kMaskAbove,
  kMaskFrom,
  kDynamicShared,
  kClock,
};
struct SpecialRegister {
  Special kind;
  u8 axis;  // 0, 1, 2 for x, y, z
  Register place;
};

struct Constant {
  u32 at;
  u8 bytes;
  u64 value;
};

struct Kernel {
  std::string name;
  const Module* module = nullptr;
  std::vector<Instruction> code;
  std::vector<Symbol> parameters;
  u32 parameter_bytes = 0;
  u32 file_bytes = 0;  // of a warp's registers
  u32 predicates = 0;
  u32 static_shared = 0, local_bytes = 0;
  u32 most_threads = 1024;
  bool has_fences = false, has_atomics = false;  // with both its blocks may order themselves
  std::vector<Constant> constants;
  std::vector<SpecialRegister> specials;
  std::vector<std::pair<u32, u32>> red_zones;  // of shared memory: [first, last) bytes
  // When profiling: launches, and the different sectors of global memory that each one touched.
  mutable u64 launches = 0, sectors_read = 0, sectors_written = 0;
};

struct Module {
  std::map<std::string, Kernel> kernels;
  std::map<std::string, Symbol> globals;  // .global and .const variables, at device addresses
  std::map<int, std::string> files;
  std::vector<Place> places;
};

// Generic addresses of shared and local memory lie in windows of their own.
constexpr u64 kSharedWindow = 0x7f00'0000'0000'0000;
constexpr u64 kLocalWindow = 0x7e00'0000'0000'0000;
constexpr u64 kWindowBytes = u64{1} << 40;
constexpr u32 kRedZoneBytes = 128;        // behind each variable in shared memory
constexpr s32 kCallParameters = 1 << 20;  // where the parameters of calls lie: nothing reads them

// Parses one PTX text into the module. What cannot be understood stops the program with a sentence.
void Parse(const std::string& text, Module& module);

// "attention.cu:42, inlined at attention.cu:97".
std::string SourceOf(const Module& module, int place);

}  // namespace sluice::emulator
