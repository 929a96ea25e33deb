// The emulated runtime: what it hands out, what it refuses, and what it stops.
#include "emulator/runtime.h"

#include <cstdlib>
#include <cstring>
#include <thread>

#include "emulator/device_memory.h"
#include "emulator/library_access.h"
#include "emulator/seeded_bugs.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

constexpr size_t kBytes = kBugThreads * sizeof(float);

void Launch(const float* x, float* y, unsigned threads = kBugThreads) {
  int n = kBugThreads;
  void* arguments[] = {&x, &y, &n};
  const auto* kernel = reinterpret_cast<const void*>(SeededBugs()[0].kernel);
  EXPECT_EQ(cudaLaunchKernel(kernel, dim3(1), dim3(threads), arguments, 0, nullptr), cudaSuccess);
}

float* Device(size_t bytes) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
  return static_cast<float*>(memory);
}

TEST(RuntimeDeathTest, HostCodeThatTouchesDeviceMemoryIsStopped) {
  volatile float* memory = Device(kBytes);
  EXPECT_DEATH(memory[3] = 1, "host code touches device memory: byte 12 of 1024 of a cudaMalloc");
  EXPECT_DEATH((void)(memory[0] + 1), "host code touches device memory: byte 0 of 1024");
  cudaFree(const_cast<float*>(memory));
  EXPECT_DEATH(memory[0] = 1, "allocation that was freed");
}

TEST(RuntimeTest, ManagedAndPinnedMemoryIsOpenToBoth) {
  void *managed = nullptr, *pinned = nullptr;
  ASSERT_EQ(cudaMallocManaged(&managed, kBytes, cudaMemAttachGlobal), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&pinned, kBytes), cudaSuccess);
  auto *x = static_cast<float*>(managed), *y = static_cast<float*>(pinned);
  for (int i = 0; i < kBugThreads; ++i) x[i] = static_cast<float>(i);
  Launch(x, y);
  for (int i = 0; i < kBugThreads; ++i) EXPECT_EQ(y[i], kBugThreads - 1 - i);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_EQ(cudaFree(managed), cudaSuccess);
  EXPECT_EQ(cudaFree(managed), cudaErrorInvalidValue) << "twice";
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(RuntimeTest, NewMemoryIsFullOfNaN) {
  float* memory = Device(kBytes);
  float value = 0;
  cudaMemcpy(&value, memory + 7, sizeof value, cudaMemcpyDeviceToHost);
  EXPECT_NE(value, value);
  cudaFree(memory);
}

TEST(RuntimeDeathTest, UseAfterFreeIsStopped) {
  float *x = Device(kBytes), *y = Device(kBytes);
  cudaFree(x);
  EXPECT_DEATH(Launch(x, y), "byte [0-9]+ of an allocation of 1024 bytes that was freed");
  EXPECT_DEATH(cudaMemset(x, 0, kBytes), "cudaMemset: the destination .* was freed");
  cudaFree(y);
}

TEST(RuntimeDeathTest, WrongCopiesAreStopped) {
  float* memory = Device(kBytes);
  float host[2] = {};
  EXPECT_DEATH(cudaMemcpy(memory + 255, host, 8, cudaMemcpyHostToDevice),
               "8 bytes from byte 1020 of the destination, an allocation of 1024 bytes");
  EXPECT_DEATH(cudaMemcpy(memory, host, 8, cudaMemcpyDeviceToHost),
               "destination .* is host memory");
  EXPECT_DEATH(cudaMemcpy(memory, host, 8, cudaMemcpyDeviceToDevice), "source .* is device memory");
  EXPECT_DEATH(cudaMemcpy(memory, memory + 1, 8, cudaMemcpyDeviceToDevice), "overlap");
  EXPECT_DEATH(cudaMemset(host, 0, 8), "is not device memory");
  cudaFree(memory);
}

TEST(RuntimeDeathTest, NarrowedMemoryIsClosedAround) {
  void* memory = nullptr;
  cudaMallocManaged(&memory, 2 * kBytes, cudaMemAttachGlobal);
  auto* y = static_cast<float*>(memory) + 64;
  float* x = Device(kBytes);
  NarrowMemory(y, kBytes);
  Launch(x, y);
  EXPECT_DEATH(Launch(x, y + 1), "is 0 bytes past the end of an allocation of 1024 bytes");
  EXPECT_DEATH(Launch(x, y - 1), "is 4 bytes before the allocation begins");
  cudaFree(memory);
  cudaFree(x);
}

TEST(RuntimeDeathTest, LibrariesGetTheChecksOfKernels) {
  float* x = Device(kBytes);
  float host[4] = {};
  const Task task = BeginTask(nullptr, "product");
  auto* view = reinterpret_cast<float*>(ReachFromLibrary(task, x + 1, 8, Access::kWrite, "x"));
  view[0] = 5;
  cudaMemcpy(host, x + 1, 4, cudaMemcpyDeviceToHost);
  EXPECT_EQ(host[0], 5);
  EXPECT_EQ(ReachFromLibrary(task, nullptr, 0, Access::kRead, "x"), nullptr);
  EXPECT_DEATH(ReachFromLibrary(task, host, 8, Access::kRead, "x"),
               "product, task .*: x, 0x.*, is not memory of the device");
  EXPECT_DEATH(ReachFromLibrary(task, x + 255, 8, Access::kRead, "x"),
               "x: 8 bytes from byte 1020 of an allocation of 1024 bytes");
  cudaStream_t other = nullptr;
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  const Task late = BeginTask(other, "late"), writer = BeginTask(nullptr, "writer");
  ReachFromLibrary(writer, x, 8, Access::kWrite, "x");
  EXPECT_DEATH(ReachFromLibrary(late, x, 8, Access::kRead, "x"), "late.* reads memory that writer");
  cudaStreamDestroy(other);
  cudaFree(x);
  EXPECT_DEATH(ReachFromLibrary(task, x, 8, Access::kRead, "x"), "was freed");
}

TEST(RuntimeDeathTest, LeaksAreCounted) {
  float* memory = Device(40);
  EXPECT_DEATH(cudaDeviceReset(), "1 cudaMalloc allocations, 40 bytes, were never freed");
  cudaFree(memory);
  EXPECT_EQ(cudaDeviceReset(), cudaSuccess);
}

TEST(RuntimeTest, SaysWhatPointersAre) {
  float* memory = Device(kBytes);
  int local = 0;
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, memory + 5);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  cudaPointerGetAttributes(&attributes, &local);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  size_t available = 0, total = 0;
  cudaMemGetInfo(&available, &total);
  EXPECT_EQ(total - available, kBytes);
  EXPECT_EQ(reinterpret_cast<u64>(memory) % 512, 256u) << "aligned as promised, and no more";
  cudaFree(memory);
}

TEST(RuntimeTest, RefusesWhatADeviceRefuses) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, size_t{1} << 40), cudaErrorMemoryAllocation);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  const auto* kernel = reinterpret_cast<const void*>(SeededBugs()[0].kernel);
  EXPECT_EQ(cudaLaunchKernel(kernel, dim3(1), dim3(1025), nullptr, 0, nullptr),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaLaunchKernel(kernel, dim3(1, 65536), dim3(1), nullptr, 0, nullptr),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(cudaLaunchKernel(kernel, dim3(1), dim3(1), nullptr, 49153, nullptr),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 163 << 10),
            cudaSuccess);
  EXPECT_EQ(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 164 << 10),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaLaunchKernel(&memory, dim3(1), dim3(1), nullptr, 0, nullptr),
            cudaErrorInvalidDeviceFunction);
  EXPECT_STREQ(cudaGetErrorString(cudaGetLastError()), "invalid device function");
}

TEST(RuntimeTest, HasADeviceForEachRankOfTheMachine) {
  int count = 0, device = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 1);
  setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "2", 1);
  cudaGetDeviceCount(&count);
  EXPECT_EQ(count, 2);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  cudaGetDevice(&device);
  EXPECT_EQ(device, 1);
  std::thread([&] { cudaGetDevice(&device); }).join();
  EXPECT_EQ(device, 0) << "a thread's own setting";
  setenv("SLUICE_EMULATOR_DEVICES", "3", 1);
  cudaGetDeviceCount(&count);
  EXPECT_EQ(count, 3);
  // What a launcher leaves visible is counted from 0 again.
  const auto machines = [](int index) {
    cudaDeviceProp properties;
    EXPECT_EQ(cudaGetDeviceProperties(&properties, index), cudaSuccess);
    return properties.uuid.bytes[0] - 1;
  };
  EXPECT_EQ(machines(2), 2);
  setenv("CUDA_VISIBLE_DEVICES", "2,1,7", 1);
  cudaGetDeviceCount(&count);
  EXPECT_EQ(count, 2);
  EXPECT_EQ(machines(0), 2);
  EXPECT_EQ(machines(1), 1);
  EXPECT_EQ(cudaSetDevice(2), cudaErrorInvalidDevice);
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  EXPECT_EQ(count, 0);
  unsetenv("CUDA_VISIBLE_DEVICES");
  unsetenv("SLUICE_EMULATOR_DEVICES");
  unsetenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  cudaSetDevice(0);
  cudaGetLastError();
}

TEST(RuntimeTest, CountsResidentBlocks) {
  const auto* kernel = reinterpret_cast<const void*>(SeededBugs()[0].kernel);
  int blocks = 0;
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 256, 0), cudaSuccess);
  EXPECT_EQ(blocks, 8);  // 2048 threads
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 256, 40 << 10);
  EXPECT_EQ(blocks, 3);  // 164 KiB of shared memory
}

}  // namespace
}  // namespace sluice::emulator
