// The instruction sets that vector kernels are compiled for: the baseline (SSE2 on x86), AVX2 with
// FMA, and AVX3 (AVX-512 F, BW, CD, DQ, VL). The sets between them are left out: few processors
// would run them, and each would add its compile time to every vector file. Include it before
// hwy/foreach_target.h.
#pragma once

#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
