// mma.sync and ldmatrix. Fragments: lane l holds row l / 4 and columns 2 (l mod 4) and the next of
// an 8 x 8 matrix of 16-bit values, so a register of the warp is the matrix, row by row.
#include "emulator/half.h"
#include "emulator/lanes.h"
#include "emulator/profile.h"
#include "emulator/ptx_text.h"
#include "emulator/shared_memory.h"
#include "emulator/warp_operations.h"

namespace sluice::emulator {
namespace {

// d[4], a[K / 4], b[K / 8], c[4]: 16 x 8 = 16 x K · K x 8 + 16 x 8, summed in float in rising order
// of k. Hardware sums in another order.
template <typename Half, int K>
void MultiplyMatrices(Warp& warp, const Instruction& i, u32 lanes) {
  if (!AllHere(warp, i, ~0u, lanes)) return;
  constexpr int kFirstA = 4, kFirstB = kFirstA + K / 4, kFirstC = kFirstB + K / 8;
  float a[16][K], b[K][8], d[16][8];
  for (int r = 0; r < K / 4; ++r) {
    const u32* cells = Lanes<u32>(warp, i.operands[kFirstA + r]);
    for (int e = 0; e < 64; ++e) {
      const u32 bits = cells[e / 2] >> (16 * (e % 2)) & 0xffff;
      a[e / 8 + 8 * (r & 1)][e % 8 + 8 * (r >> 1)] = Half::Widen(bits);
    }
  }
  for (int r = 0; r < K / 8; ++r) {
    const u32* cells = Lanes<u32>(warp, i.operands[kFirstB + r]);
    for (int e = 0; e < 64; ++e) {
      b[e % 8 + 8 * r][e / 8] = Half::Widen(cells[e / 2] >> (16 * (e % 2)) & 0xffff);
    }
  }
  for (int r = 0; r < 4; ++r) {
    const u32* c = Lanes<float>(warp, i.operands[kFirstC + r]);
    for (int l = 0; l < 32; ++l)
      d[l / 4 + 8 * (r >> 1)][l % 4 * 2 + (r & 1)] = FromCell<float>(c[l]);
  }
  for (int y = 0; y < 16; ++y) {
    for (int k = 0; k < K; ++k) {
      for (int x = 0; x < 8; ++x) d[y][x] += a[y][k] * b[k][x];
    }
  }
  for (int r = 0; r < 4; ++r) {
    u32* out = Lanes<float>(warp, i.operands[r]);
    for (int l = 0; l < 32; ++l)
      out[l] = ToCell<float>(d[l / 4 + 8 * (r >> 1)][l % 4 * 2 + (r & 1)]);
  }
}

// The lanes that name rows.
u32 MatrixLanes(const Instruction& i) { return i.elements == 4 ? ~0u : (1u << 8 * i.elements) - 1; }

// Lane 8 m + y gives the address of row y of matrix m: 16 bytes in shared memory.
template <bool transposed>
void LoadMatrices(Warp& warp, const Instruction& i, u32 lanes) {
  if (!AllHere(warp, i, ~0u, lanes)) return;
  u32 rows[32];
  for (int lane = 0; lane < 8 * i.elements; ++lane) {
    const u64 at = AddressIn(warp, i, i.operands[i.elements], lane);
    const bool generic = i.wide_address && at - kSharedWindow < kWindowBytes;
    rows[lane] = static_cast<u32>(generic ? at - kSharedWindow : at);
    SharedAddress(warp, i, lane, rows[lane], 16);
    CheckSharedRead(warp, i, lane, rows[lane], 16);
  }
  if (profiling) {
    CountShared(i, rows, MatrixLanes(i), 16);
  }
  for (int m = 0; m < i.elements; ++m) {
    auto* out = reinterpret_cast<u16*>(Lanes<u32>(warp, i.operands[m]));
    for (int y = 0; y < 8; ++y) {
      const auto* row = reinterpret_cast<const u16*>(warp.block->shared + rows[m * 8 + y]);
      for (int x = 0; x < 8; ++x) out[transposed ? x * 8 + y : y * 8 + x] = row[x];
    }
  }
}

// The reverse of LoadMatrices.
template <bool transposed>
void StoreMatrices(Warp& warp, const Instruction& i, u32 lanes) {
  if (!AllHere(warp, i, ~0u, lanes)) return;
  u32 rows[32];
  for (int lane = 0; lane < 8 * i.elements; ++lane) {
    const u64 at = AddressIn(warp, i, i.operands[0], lane);
    const bool generic = i.wide_address && at - kSharedWindow < kWindowBytes;
    const u32 offset = static_cast<u32>(generic ? at - kSharedWindow : at);
    const int m = lane / 8, y = lane % 8;
    const auto* in = reinterpret_cast<const u16*>(Lanes<u32>(warp, i.operands[1 + m]));
    u16 row[8];
    for (int x = 0; x < 8; ++x) row[x] = in[transposed ? x * 8 + y : y * 8 + x];
    u8* memory = SharedAddress(warp, i, lane, offset, 16);
    CheckSharedWrite(warp, i, lane, offset, 16, row);
    std::memcpy(memory, row, sizeof row);
    rows[lane] = offset;
  }
  if (profiling) CountShared(i, rows, MatrixLanes(i), 16);
}

}  // namespace

Operation SelectMatrix(Instruction& i, const Opcode& op) {
  if (op.Is("mma") && op.Has("row") && op.Has("col") && op.type() == "f32") {
    if (op.Has("m16n8k16") && op.Has("bf16")) return MultiplyMatrices<Bf16, 16>;
    if (op.Has("m16n8k8") && op.Has("bf16")) return MultiplyMatrices<Bf16, 8>;
    if (op.Has("m16n8k16") && op.Has("f16")) return MultiplyMatrices<Fp16, 16>;
    if (op.Has("m16n8k8") && op.Has("f16")) return MultiplyMatrices<Fp16, 8>;
    return nullptr;
  }
  if (!op.IsOneOf({"ldmatrix", "stmatrix"}) || !op.Has("m8n8")) return nullptr;
  i.elements = op.Has("x4") ? 4 : op.Has("x2") ? 2 : 1;
  if (op.Is("ldmatrix")) return op.Has("trans") ? LoadMatrices<true> : LoadMatrices<false>;
  return op.Has("trans") ? StoreMatrices<true> : StoreMatrices<false>;
}

}  // namespace sluice::emulator
