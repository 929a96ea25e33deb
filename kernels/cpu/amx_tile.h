// Small bf16 products on the tile registers of AMX, for attention: C (+)= A · B in fp32.
//
// Between BeginTiles and EndTiles a thread owns its tile registers; oneDNN sets them up again for
// each of its own products.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace sluice::cpu {

inline constexpr int64_t kAmxRows = 16;   // and columns of C in a register
inline constexpr int64_t kAmxDepth = 32;  // elements of A's rows in a register

// Whether the processor has AMX for bf16, the system lets this process use it, and
// ONEDNN_MAX_CPU_ISA does not forbid it. Asks the system once.
bool HasAmxTiles();

void BeginTiles();
void EndTiles();

// C (16 · row_tiles, 16 · column_tiles) (+)= A (16 · row_tiles, depth) · B. B lies in pairs: row k
// of `b` holds elements 2k and 2k + 1 of each column together.
struct AmxProduct {
  const bf16* a;
  const bf16* b;
  float* c;
  int64_t a_stride, b_stride, c_stride;  // elements of each from row to row; b's rows are pairs
  int64_t row_tiles, column_tiles;
  int64_t depth;  // a multiple of kAmxDepth
  bool accumulate;
};

void MultiplyTiles(const AmxProduct& product);

}  // namespace sluice::cpu
