// Loads and stores in every state space, and the conversion of addresses between them.
#include <cstring>

#include "emulator/lanes.h"
#include "emulator/profile.h"
#include "emulator/ptx_text.h"
#include "emulator/shared_memory.h"

namespace sluice::emulator {
namespace {

enum Space { kGeneric, kGlobal, kShared, kLocal };

u8* LocalAddress(Warp& warp, const Instruction& i, int lane, u64 at, u32 bytes) {
  const u32 most = warp.block->kernel->local_bytes;
  if (at % bytes != 0 || at + bytes > most) {
    Fail(warp, i, lane, "local address %#lx, of %u bytes", static_cast<unsigned long>(at), most);
  }
  return warp.block->local + static_cast<u64>(ThreadOf(warp, lane)) * most + at;
}

// `value`: what is written; null for a load.
template <int space>
u8* Reach(Warp& warp, const Instruction& i, int lane, u64 at, u32 bytes, const void* value) {
  if (space == kShared || (space == kGeneric && at - kSharedWindow < kWindowBytes)) {
    const u32 offset = static_cast<u32>(space == kShared ? at : at - kSharedWindow);
    u8* memory = SharedAddress(warp, i, lane, offset, bytes);
    if (value != nullptr) {
      CheckSharedWrite(warp, i, lane, offset, bytes, value);
    } else {
      CheckSharedRead(warp, i, lane, offset, bytes);
    }
    return memory;
  }
  if (space == kLocal || (space == kGeneric && at - kLocalWindow < kWindowBytes)) {
    return LocalAddress(warp, i, lane, space == kLocal ? at : at - kLocalWindow, bytes);
  }
  return GlobalAddress(warp, i, lane, at, bytes, value != nullptr ? Access::kWrite : Access::kRead);
}

template <int space>
void Count(const Instruction& i, const u64* at, u32 lanes) {
  if (!profiling || space == kLocal) return;
  const u32 bytes = i.bytes * i.elements;
  if (space != kShared) return CountGlobal(i, at, lanes, bytes);
  u32 offsets[32];
  ForEachLane(lanes, [&](int lane) { offsets[lane] = static_cast<u32>(at[lane]); });
  CountShared(i, offsets, lanes, bytes);
}

// detail: sign-extend
void LoadElement(Warp& warp, const Instruction& i, u32 operand, int lane, const u8* memory) {
  u64 value = 0;
  std::memcpy(&value, memory, i.bytes);
  if (i.detail != 0) {
    const int unused = 64 - 8 * i.bytes;
    value = static_cast<u64>(static_cast<s64>(value << unused) >> unused);
  }
  if (i.register_bytes == 8) {
    Lanes<u64>(warp, operand)[lane] = value;
  } else {
    Lanes<u32>(warp, operand)[lane] = static_cast<u32>(value);
  }
}

template <int space>
void Load(Warp& warp, const Instruction& i, u32 lanes) {
  u64 at[32] = {};
  ForEachLane(lanes,
              [&](int lane) { at[lane] = AddressIn(warp, i, i.operands[i.elements], lane); });
  Count<space>(i, at, lanes);
  ForEachLane(lanes, [&](int lane) {
    const u8* memory = Reach<space>(warp, i, lane, at[lane], i.bytes * i.elements, nullptr);
    for (int e = 0; e < i.elements; ++e) {
      LoadElement(warp, i, i.operands[e], lane, memory + e * i.bytes);
    }
  });
}

template <int space>
void Store(Warp& warp, const Instruction& i, u32 lanes) {
  u64 at[32] = {};
  ForEachLane(lanes, [&](int lane) { at[lane] = AddressIn(warp, i, i.operands[0], lane); });
  Count<space>(i, at, lanes);
  const u32 bytes = i.bytes * i.elements;
  ForEachLane(lanes, [&](int lane) {
    u8 value[32];
    for (int e = 0; e < i.elements; ++e) {
      const u32 operand = i.operands[1 + e];
      const void* cell = i.register_bytes == 8
                             ? static_cast<const void*>(Lanes<u64>(warp, operand) + lane)
                             : static_cast<const void*>(Lanes<u32>(warp, operand) + lane);
      std::memcpy(value + e * i.bytes, cell, i.bytes);
    }
    std::memcpy(Reach<space>(warp, i, lane, at[lane], bytes, value), value, bytes);
  });
}

void LoadParameter(Warp& warp, const Instruction& i, u32 lanes) {
  const Kernel& kernel = *warp.block->kernel;
  const u64 base = Lanes<u64>(warp, i.operands[i.elements])[__builtin_ctz(lanes)];
  const u64 from = base + static_cast<s64>(i.offset);
  for (size_t p = 0; p < kernel.parameters.size(); ++p) {
    const Symbol& parameter = kernel.parameters[p];
    if (from < parameter.at || from >= parameter.at + parameter.bytes) continue;
    const u8* value = static_cast<const u8*>(warp.block->arguments[p]) + (from - parameter.at);
    ForEachLane(lanes, [&](int lane) {
      for (int e = 0; e < i.elements; ++e) {
        LoadElement(warp, i, i.operands[e], lane, value + e * i.bytes);
      }
    });
    return;
  }
  Fail(warp, i, 0, "no such parameter");
}

template <u64 window, bool add>
void ConvertAddress(Warp& warp, const Instruction& i, u32 lanes) {
  Map1<u64, u64>(warp, i, lanes, [](u64 a) { return add ? a + window : a - window; });
}

// The parameters of calls lie nowhere.
void Nothing(Warp& /*warp*/, const Instruction& /*i*/, u32 /*lanes*/) {}

Operation SelectAddress(const Opcode& op) {
  const bool to = op.Has("to");
  if (op.Has("shared")) {
    return to ? ConvertAddress<kSharedWindow, false> : ConvertAddress<kSharedWindow, true>;
  }
  if (op.Has("local")) {
    return to ? ConvertAddress<kLocalWindow, false> : ConvertAddress<kLocalWindow, true>;
  }
  return op.Has("global") || op.Has("const") || op.Has("param") ? ConvertAddress<0, true> : nullptr;
}

}  // namespace

Operation SelectMemory(Instruction& i, const Opcode& op) {
  if (op.Is("cvta")) return SelectAddress(op);
  if (!op.IsOneOf({"ld", "st", "ldu"})) return nullptr;
  i.bytes = static_cast<u8>(TypeBytes(op.type()));
  if (i.bytes > 8) return nullptr;
  i.detail = op.type()[0] == 's' ? 1 : 0;
  std::string space = op.FirstOf({"param", "global", "shared", "local", "const"});
  if (op.Has("shared::cta")) space = "shared";
  const bool store = op.Is("st");
  if (space == "param" && (store || i.offset >= kCallParameters)) return Nothing;
  if (space == "param") return LoadParameter;
  if (space == "shared") return store ? Store<kShared> : Load<kShared>;
  if (space == "local") return store ? Store<kLocal> : Load<kLocal>;
  if (space == "global") return store ? Store<kGlobal> : Load<kGlobal>;
  if (space == "const") return store ? nullptr : Load<kGlobal>;
  return store ? Store<kGeneric> : Load<kGeneric>;
}

}  // namespace sluice::emulator
