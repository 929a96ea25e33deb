// The CUDA stream that a launcher's work is put into, without CUDA's headers: what is above
// kernels/ does not need a toolkit to be compiled. cudaStream_t is the same pointer.
#pragma once

struct CUstream_st;

namespace sluice::cuda {

// Null is CUDA's default stream; Sluice's own streams do not synchronize with it.
using Stream = CUstream_st*;

}  // namespace sluice::cuda
