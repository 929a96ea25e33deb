// The backend under test. Tests of ops are compiled once for the CPU and, where CUDA is on, once
// more with SLUICE_TEST_CUDA (kernels.OP_test.cuda): the same inputs, the same judge, the same
// tolerances. What differs is here:
//
//   SLUICE_BACKEND_OP(RowGather, RowGatherArgs);      backend::RowGather<T>({…}) runs it and waits
//   using StorageTypes = testing::StorageTypes;       the types that the backend has kernels for
//   const auto x = OnBackend(Cast<T>(RandomValues(count, 1)));     inputs where kernels can read
//   PoisonedBuffer<T> y(count);                       outputs, with canaries (support/compare.h)
//   OnEachInstructionSet([&] { … });                  instruction sets; on the emulator, orders
//
// Memory of the CUDA backend is managed: host and kernels use the same pointers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/bf16.h"
#include "core/fp16.h"
#include "gtest/gtest.h"
#include "kernels/api/cuda_stream.h"

namespace sluice::testing {

#ifdef SLUICE_TEST_CUDA
constexpr bool kOnCuda = true;
using StorageTypes = ::testing::Types<float, bf16, fp16>;
#else
constexpr bool kOnCuda = false;
using StorageTypes = ::testing::Types<float, bf16>;
#endif

// Memory that the backend's kernels can use, 64 bytes aligned. On the emulator device code is
// stopped when it touches a byte outside.
void* AllocateOnBackend(size_t bytes);
void FreeOnBackend(void* memory);
// On the emulator device code may touch only these bytes of the allocation that they are in.
void NarrowOnBackend(const void* begin, size_t bytes);

// The stream that tests launch into; null on the CPU.
cuda::Stream BackendStream();
// Waits for everything launched; what failed meanwhile.
absl::Status SynchronizeBackend();

// Orders in which blocks and warps run: several on the emulator, else one.
int BlockOrders();
const char* SetBlockOrder(int order);  // returns its name; SetBlockOrder(0) is the usual one

template <typename T>
struct BackendAllocator {
  using value_type = T;
  BackendAllocator() = default;
  template <typename U>
  BackendAllocator(const BackendAllocator<U>& /*other*/) {}  // NOLINT: as std::allocator does
  T* allocate(size_t count) { return static_cast<T*>(AllocateOnBackend(count * sizeof(T))); }
  void deallocate(T* memory, size_t /*count*/) { FreeOnBackend(memory); }
  friend bool operator==(const BackendAllocator&, const BackendAllocator&) { return true; }
};

template <typename T>
using BackendVector = std::vector<T, BackendAllocator<T>>;

// A copy that the backend's kernels can read, of exactly that size.
template <typename Values>
auto OnBackend(const Values& values) {
  using T = typename Values::value_type;
  return BackendVector<T>(values.begin(), values.end());
}
template <typename T>
BackendVector<T> OnBackend(std::initializer_list<T> values) {
  return BackendVector<T>(values);
}

// Runs `launch(stream)`, which puts work into the stream, and waits for it.
template <typename Launch>
absl::Status RunOnBackend(const Launch& launch) {
  const absl::Status launched = launch(BackendStream());
  const absl::Status done = SynchronizeBackend();
  return launched.ok() ? done : launched;
}

}  // namespace sluice::testing

// Defines backend::Op<T>(args), in namespace sluice: cpu::Op or cuda::Op with an Args<T>, done when
// it returns.
#define SLUICE_BACKEND_OP(Op, Args)                                        \
  namespace backend {                                                      \
  template <typename T>                                                    \
  absl::Status Op(const Args<T>& args) {                                   \
    if constexpr (::sluice::testing::kOnCuda) {                            \
      return ::sluice::testing::RunOnBackend(                              \
          [&](cuda::Stream stream) { return cuda::Op<T>(args, stream); }); \
    } else {                                                               \
      return cpu::Op<T>(args);                                             \
    }                                                                      \
  }                                                                        \
  }                                                                        \
  static_assert(true, "so that a semicolon may follow")
