#include "kernels/cpu/amx_tile.h"

#include <algorithm>

#include "kernels/cpu/onednn_cache.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sluice::cpu {

#if defined(__x86_64__)

namespace {

#define SLUICE_AMX __attribute__((target("amx-tile,amx-bf16")))

bool AskForTiles() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  if ((isa & needed) != needed) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// What LDTILECFG reads: palette 1, each of eight registers 16 rows of 64 bytes.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);

// kRows x kColumns registers of C (0 to 3), the registers of A (4, 5) and of B (6, 7).
template <int kRows, int kColumns>
SLUICE_AMX void MultiplyRegisters(const AmxProduct& product, int64_t row, int64_t column) {
  const bf16* a = product.a + row * kAmxRows * product.a_stride;
  const bf16* b = product.b + column * 2 * kAmxRows;
  float* c = product.c + row * kAmxRows * product.c_stride + column * kAmxRows;
  const int64_t a_bytes = product.a_stride * 2, b_bytes = product.b_stride * 2;
  const int64_t c_bytes = product.c_stride * 4;
  float* below = c + kAmxRows * product.c_stride;
  if (product.accumulate) {
    _tile_loadd(0, c, c_bytes);
    if constexpr (kColumns > 1) _tile_loadd(1, c + kAmxRows, c_bytes);
    if constexpr (kRows > 1) _tile_loadd(2, below, c_bytes);
    if constexpr (kRows > 1 && kColumns > 1) _tile_loadd(3, below + kAmxRows, c_bytes);
  } else {
    _tile_zero(0);
    if constexpr (kColumns > 1) _tile_zero(1);
    if constexpr (kRows > 1) _tile_zero(2);
    if constexpr (kRows > 1 && kColumns > 1) _tile_zero(3);
  }
  for (int64_t k = 0; k < product.depth; k += kAmxDepth) {
    const bf16* pairs = b + k / 2 * product.b_stride;
    _tile_loadd(4, a + k, a_bytes);
    _tile_loadd(6, pairs, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kColumns > 1) {
      _tile_loadd(7, pairs + 2 * kAmxRows, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kRows > 1) {
      _tile_loadd(5, a + kAmxRows * product.a_stride + k, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kRows > 1 && kColumns > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_bytes);
  if constexpr (kColumns > 1) _tile_stored(1, c + kAmxRows, c_bytes);
  if constexpr (kRows > 1) _tile_stored(2, below, c_bytes);
  if constexpr (kRows > 1 && kColumns > 1) _tile_stored(3, below + kAmxRows, c_bytes);
}

}  // namespace

bool HasAmxTiles() {
  static const bool has_tiles = AskForTiles();
  return has_tiles;
}

SLUICE_AMX void BeginTiles() {
  // Constant memory: GCC 12 tells the optimizer only of the first eight bytes that this reads.
  static constexpr TileConfiguration kConfiguration;
  _tile_loadconfig(&kConfiguration);
}

SLUICE_AMX void EndTiles() { _tile_release(); }

void MultiplyTiles(const AmxProduct& product) {
  for (int64_t row = 0; row < product.row_tiles; row += 2) {
    const bool two_rows = row + 1 < product.row_tiles;
    for (int64_t column = 0; column < product.column_tiles; column += 2) {
      const bool two_columns = column + 1 < product.column_tiles;
      if (two_rows && two_columns) {
        MultiplyRegisters<2, 2>(product, row, column);
      } else if (two_rows) {
        MultiplyRegisters<2, 1>(product, row, column);
      } else if (two_columns) {
        MultiplyRegisters<1, 2>(product, row, column);
      } else {
        MultiplyRegisters<1, 1>(product, row, column);
      }
    }
  }
}

#undef SLUICE_AMX

#else

bool HasAmxTiles() { return false; }
void BeginTiles() {}
void EndTiles() {}
void MultiplyTiles(const AmxProduct&) {}

#endif

}  // namespace sluice::cpu
