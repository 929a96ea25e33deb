// For stand-ins of CUDA's libraries, which compute on the host what a library would on the device.
//
//   const Task task = BeginTask(stream, "cublasLtMatmul");
//   const auto* a = reinterpret_cast<const float*>(
//       ReachFromLibrary(task, args.a, bytes, Access::kRead, "A"));
#pragma once

#include <cstddef>

#include "emulator/memory_order.h"

namespace sluice::emulator {

// Where host code reaches `bytes` from device pointer `begin`, after the checks that a kernel would
// get: that it is the device's memory, is within one allocation that is not freed, and that the
// task waits for those whose writes it sees. Stops the program otherwise, with the task's name and
// `what`, the argument's. No bytes may be anywhere.
u8* ReachFromLibrary(const Task& task, const void* begin, size_t bytes, Access access,
                     const char* what);

}  // namespace sluice::emulator
