// The instruction sets that vector kernels are compiled for: AVX3 (AVX-512 F, BW, CD, DQ, VL), AVX2
// with FMA, and the baseline, which on x86 is scalar code in this version of Highway. The sets
// between them are left out: few processors would run them, and each would add its compile time to
// every vector file. Include it before hwy/foreach_target.h.
#pragma once

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
