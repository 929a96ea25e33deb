// What the emulated device says of itself, and of kernels.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "emulator/device_memory.h"
#include "emulator/report.h"
#include "emulator/runtime.h"

namespace sluice::emulator {
namespace {

struct Named {
  cudaError_t error;
  const char *name, *text;
};
constexpr Named kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidSymbol, "cudaErrorInvalidSymbol", "invalid device symbol"},
    {cudaErrorInvalidPitchValue, "cudaErrorInvalidPitchValue", "invalid pitch argument"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
};
const Named& Describe(cudaError_t error) {
  static constexpr Named kUnknown = {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  for (const Named& named : kErrors) {
    if (named.error == error) return named;
  }
  return kUnknown;
}

// What the device says that it is; it runs PTX of sm_80 whatever that be.
int ComputeCapability() {
  const char* text = std::getenv("SLUICE_EMULATOR_COMPUTE_CAPABILITY");
  return text == nullptr ? 80 : std::atoi(text);
}

int Attribute(cudaDeviceAttr attribute) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return ComputeCapability() / 10;
    case cudaDevAttrComputeCapabilityMinor:
      return ComputeCapability() % 10;
    case cudaDevAttrMultiProcessorCount:
      return kMultiprocessors;
    case cudaDevAttrMaxThreadsPerBlock:
      return 1024;
    case cudaDevAttrWarpSize:
      return 32;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return 48 << 10;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return kMostSharedOfBlock;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return kSharedOfMultiprocessor;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return kThreadsOfMultiprocessor;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      return kBlocksOfMultiprocessor;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return 65536;
    case cudaDevAttrMaxGridDimX:
      return 0x7fffffff;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrManagedMemory:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrConcurrentManagedAccess:
      return 1;
    default:
      FailOnHost("cudaDeviceGetAttribute: attribute %d is not emulated", attribute);
  }
}

thread_local int current_device = 0;

// As many as this machine has ranks, so that each finds its own. They are the same in all but the
// number, and what a process allocates on one it can reach from another.
int DevicesOfMachine() {
  for (const char* name : {"SLUICE_EMULATOR_DEVICES", "OMPI_COMM_WORLD_LOCAL_SIZE"}) {
    if (const char* text = std::getenv(name); text != nullptr) return std::max(1, std::atoi(text));
  }
  return 1;
}

// Those of the machine that CUDA_VISIBLE_DEVICES lists (as 2,0; up to the first that is none), or
// all.
std::vector<int> VisibleDevices() {
  const int count = DevicesOfMachine();
  std::vector<int> visible;
  const char* text = std::getenv("CUDA_VISIBLE_DEVICES");
  if (text == nullptr) {
    for (int device = 0; device < count; ++device) visible.push_back(device);
    return visible;
  }
  while (*text != '\0') {
    char* end = nullptr;
    const long device = std::strtol(text, &end, 10);
    if (end == text || device < 0 || device >= count) break;
    visible.push_back(static_cast<int>(device));
    text = *end == ',' ? end + 1 : end;
  }
  return visible;
}
bool IsDevice(int device) { return device >= 0 && device < std::ssize(VisibleDevices()); }

}  // namespace

int DeviceOfMachine(int device) { return VisibleDevices().at(device); }

}  // namespace sluice::emulator

using sluice::emulator::Result;

extern "C" {

const char* cudaGetErrorString(cudaError_t error) { return sluice::emulator::Describe(error).text; }
const char* cudaGetErrorName(cudaError_t error) { return sluice::emulator::Describe(error).name; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(sluice::emulator::VisibleDevices().size());
  return *count == 0 ? Result(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = sluice::emulator::current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!sluice::emulator::IsDevice(device)) return Result(cudaErrorInvalidDevice);
  sluice::emulator::current_device = device;
  return cudaSuccess;
}
// What was not freed by now has leaked.
cudaError_t cudaDeviceReset() {
  using sluice::emulator::MemoryKind;
  for (const MemoryKind kind : {MemoryKind::kDevice, MemoryKind::kManaged, MemoryKind::kPinned}) {
    const auto use = sluice::emulator::CurrentMemoryUse(kind);
    if (use.allocations_now == 0) continue;
    sluice::emulator::FailOnHost("cudaDeviceReset: %lu %s allocations, %lu bytes, were never freed",
                                 static_cast<unsigned long>(use.allocations_now),
                                 sluice::emulator::NameOf(kind),
                                 static_cast<unsigned long>(use.bytes_now));
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!sluice::emulator::IsDevice(device)) return Result(cudaErrorInvalidDevice);
  *value = sluice::emulator::Attribute(attribute);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!sluice::emulator::IsDevice(device)) return Result(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "PTX emulator");
  properties->uuid.bytes[0] = static_cast<char>(sluice::emulator::DeviceOfMachine(device) + 1);
  properties->totalGlobalMem = sluice::emulator::TotalMemory();
  properties->major = sluice::emulator::ComputeCapability() / 10;
  properties->minor = sluice::emulator::ComputeCapability() % 10;
  properties->multiProcessorCount = sluice::emulator::kMultiprocessors;
  properties->maxThreadsPerBlock = 1024;
  properties->warpSize = 32;
  properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
  properties->sharedMemPerBlock = 48 << 10;
  properties->sharedMemPerBlockOptin = sluice::emulator::kMostSharedOfBlock;
  properties->sharedMemPerMultiprocessor = sluice::emulator::kSharedOfMultiprocessor;
  properties->reservedSharedMemPerBlock = sluice::emulator::kSharedReservedOfBlock;
  properties->maxThreadsPerMultiProcessor = sluice::emulator::kThreadsOfMultiprocessor;
  properties->maxBlocksPerMultiProcessor = sluice::emulator::kBlocksOfMultiprocessor;
  properties->managedMemory = properties->unifiedAddressing = 1;
  properties->concurrentManagedAccess = 1;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  auto* found = sluice::emulator::FindKernel(function);
  if (found == nullptr) return Result(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > sluice::emulator::kMostSharedOfBlock) {
    return Result(cudaErrorInvalidValue);
  }
  found->most_dynamic_shared = static_cast<size_t>(value);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  const auto* found = sluice::emulator::FindKernel(function);
  if (found == nullptr) return Result(cudaErrorInvalidDeviceFunction);
  *attributes = {};
  attributes->sharedSizeBytes = found->kernel->static_shared;
  attributes->localSizeBytes = found->kernel->local_bytes;
  attributes->maxThreadsPerBlock = static_cast<int>(found->kernel->most_threads);
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(found->most_dynamic_shared);
  attributes->ptxVersion = attributes->binaryVersion = 80;
  return cudaSuccess;
}
// By threads and shared memory: PTX does not say how many registers there will be.
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int block_threads,
                                                          size_t dynamic_shared) {
  const auto* found = sluice::emulator::FindKernel(function);
  if (found == nullptr) return Result(cudaErrorInvalidDeviceFunction);
  if (block_threads <= 0) return Result(cudaErrorInvalidValue);
  const size_t shared =
      found->kernel->static_shared + dynamic_shared + sluice::emulator::kSharedReservedOfBlock;
  const int by_threads =
      sluice::emulator::kThreadsOfMultiprocessor / ((block_threads + 31) / 32 * 32);
  const int by_shared = static_cast<int>(sluice::emulator::kSharedOfMultiprocessor / shared);
  *blocks = std::min({by_threads, by_shared, sluice::emulator::kBlocksOfMultiprocessor});
  return cudaSuccess;
}

}  // extern "C"
