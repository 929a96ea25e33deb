// Kernels that use one family of instructions each, by what CUDA C++ calls them. What each computes
// is said here; the test works it out on the host.
#pragma once

#include <cstdint>
#include <vector>

#include "core/bf16.h"
#include "core/fp16.h"

namespace sluice::emulator {

using Words = std::vector<uint32_t>;
using Floats = std::vector<float>;

// Narrow and wide accesses in every space. Of 64 bytes x: [0, 64) the sum over all signed bytes by
// thread t of bytes up to t; [64, 128) byte t through local memory that is indexed at run time;
// [128, 144) the words, copied as vectors of 4; [144, 160) the words times the variable that
// `factor` was copied to.
Words RunMemory(const std::vector<uint8_t>& x, uint32_t factor);

// 256 threads of 4 blocks apply each atomic to one place in global memory and to one in shared
// memory, which is added to the next place: add, min, max, and, or, xor, inc (to 99), cas (counts),
// exchange (ends as one of the threads' numbers); 18 words.
Words RunAtomics();
// The sum of 1 … 1024 by atomic additions of float, of pairs of bf16 ones and of double.
Floats RunFloatAtomics();

// For each of 32 lanes with value x: shuffles up 3, down 5, xor 9, from lane 7, within segments of
// 8 (down 2); ballot of odd x; any and all of x > 0 as bits; lanes with the same x; the sum,
// minimum and xor over the warp. 12 · 32 words.
Words RunWarp(const Words& x);

// d = a b + c, 16 x 8 = 16 x 16 · 16 x 8, through ldmatrix from shared memory, b transposed on its
// way.
Floats RunMatrix(const std::vector<bf16>& a, const std::vector<bf16>& b, const Floats& c);
Floats RunMatrix(const std::vector<fp16>& a, const std::vector<fp16>& b, const Floats& c);

// 256 floats through shared memory by cp.async in two stages; of the last 16 bytes of each half
// only 4 are given, the rest are zeros.
Floats RunAsyncCopy(const Floats& x);

// Thread t of 64 adds up 1 … t in a loop of its own length, with a branch within, and returns early
// when t is a multiple of 5 (then 0).
Words RunDivergence();

// 4 warps: two write x doubled, two read it reversed, in turns over named barriers of 128 threads;
// then sums over the block by warps of different ages. y[i] = 2 x[n - 1 - i].
Floats RunNamedBarriers(const Floats& x);

// Of 96 threads with value x, in every thread: how many are odd, whether all are above 2, whether
// any is 5. 3 · 96.
Words RunBarrierVotes(const Words& x);

// Pairs: a + b, a - b, a · b, fma(a, b, c), min, max, -a, |a|, 1 if a < b; 9 · count.
std::vector<bf16> RunHalves(const std::vector<bf16>& a, const std::vector<bf16>& b,
                            const std::vector<bf16>& c);
std::vector<fp16> RunHalves(const std::vector<fp16>& a, const std::vector<fp16>& b,
                            const std::vector<fp16>& c);

}  // namespace sluice::emulator
