// Kernels whose counts in a profile follow from their text.
#pragma once

namespace sluice::emulator {

// A warp transposes 32 x 32 floats through shared memory: rows in, columns out. Without padding a
// column lies in one bank.
void RunTranspose(bool padded);
// A warp reads every 8th float, twice, and writes 32 neighbours.
void RunStridedRead();

}  // namespace sluice::emulator
