// Allocation, copies and fills. A copy or fill that leaves its allocation stops the program.
#include <cstring>

#include "emulator/device_memory.h"
#include "emulator/memory_order.h"
#include "emulator/report.h"
#include "emulator/runtime.h"

namespace sluice::emulator {
namespace {

cudaError_t Allocate(void** pointer, size_t bytes, MemoryKind kind) {
  if (pointer == nullptr) return Result(cudaErrorInvalidValue);
  *pointer = nullptr;
  if (bytes == 0) return kind == MemoryKind::kManaged ? Result(cudaErrorInvalidValue) : cudaSuccess;
  const size_t used = CurrentMemoryUse(MemoryKind::kDevice).bytes_now +
                      CurrentMemoryUse(MemoryKind::kManaged).bytes_now;
  if (kind != MemoryKind::kPinned && bytes > TotalMemory() - used) {
    return Result(cudaErrorMemoryAllocation);
  }
  *pointer = reinterpret_cast<void*>(AllocateMemory(bytes, kind));
  return cudaSuccess;
}

cudaError_t Free(void* pointer, std::initializer_list<MemoryKind> kinds) {
  if (pointer == nullptr) return cudaSuccess;
  const Allocation* allocation = FindAllocation(reinterpret_cast<u64>(pointer));
  for (const MemoryKind kind : kinds) {
    if (!FreeMemory(reinterpret_cast<u64>(pointer), kind)) continue;
    ForgetRange(allocation->begin, allocation->end - allocation->begin);
    return cudaSuccess;
  }
  return Result(cudaErrorInvalidValue);
}

// Where host code of the runtime reaches [at, at + bytes), checked when it is memory of ours.
u8* Reach(const void* pointer, size_t bytes, const char* call, const char* side) {
  const u64 at = reinterpret_cast<u64>(pointer);
  if (!IsDeviceAddress(at)) return reinterpret_cast<u8*>(at);
  const Allocation* allocation = FindAllocation(at);
  if (allocation == nullptr || at < allocation->begin) {
    FailOnHost("%s: the %s %p is in no allocation", call, side, pointer);
  }
  if (allocation->freed) FailOnHost("%s: the %s %p was freed", call, side, pointer);
  if (at + bytes > allocation->end) {
    FailOnHost("%s: %lu bytes from byte %lu of the %s, an allocation of %lu bytes", call,
               static_cast<unsigned long>(bytes),
               static_cast<unsigned long>(at - allocation->begin), side,
               static_cast<unsigned long>(allocation->end - allocation->begin));
  }
  return HostView(at);
}

void CheckSide(const void* pointer, bool wants_device, const char* call, const char* side) {
  const u64 at = reinterpret_cast<u64>(pointer);
  const bool is_ours = IsDeviceAddress(at);
  const Allocation* allocation = is_ours ? FindAllocation(at) : nullptr;
  const bool only_device = allocation != nullptr && (allocation->kind == MemoryKind::kDevice ||
                                                     allocation->kind == MemoryKind::kVariable);
  if (wants_device &&
      (!is_ours || (allocation != nullptr && allocation->kind == MemoryKind::kPinned))) {
    FailOnHost("%s: its kind says that the %s %p is device memory, and it is not", call, side,
               pointer);
  }
  if (!wants_device && only_device) {
    FailOnHost("%s: its kind says that the %s %p is host memory, and it is not", call, side,
               pointer);
  }
}

// What a copy or fill is: its name, and the stream that it is put into.
struct Call {
  const char* name;
  cudaStream_t stream;
};

cudaError_t Copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, const Call& call) {
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr || from == nullptr) return Result(cudaErrorInvalidValue);
  if (kind != cudaMemcpyDefault) {
    CheckSide(to, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, call.name,
              "destination");
    CheckSide(from, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, call.name,
              "source");
  }
  u8* out = Reach(to, bytes, call.name, "destination");
  const u8* in = Reach(from, bytes, call.name, "source");
  if (in < out + bytes && out < in + bytes)
    FailOnHost("%s: source and destination overlap", call.name);
  const Task task = BeginTask(call.stream, call.name);
  NoteRange(task, from, bytes, Access::kRead);
  NoteRange(task, to, bytes, Access::kWrite);
  std::memcpy(out, in, bytes);
  return cudaSuccess;
}

// The same, and the host waits until it is done.
cudaError_t CopyAndWait(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                        const char* name) {
  const cudaError_t error = Copy(to, from, bytes, kind, {name, nullptr});
  WaitOnHostForStream(nullptr);
  return error;
}

cudaError_t Fill(void* to, int value, size_t bytes, const Call& call) {
  if (bytes == 0) return cudaSuccess;
  if (to == nullptr) return Result(cudaErrorInvalidValue);
  if (!IsDeviceAddress(reinterpret_cast<u64>(to))) {
    FailOnHost("%s: %p is not device memory", call.name, to);
  }
  u8* out = Reach(to, bytes, call.name, "destination");
  NoteRange(BeginTask(call.stream, call.name), to, bytes, Access::kWrite);
  std::memset(out, value, bytes);
  return cudaSuccess;
}

// Where in a __device__ variable; null when there is none or it is too small.
void* PlaceInVariable(const void* host_symbol, size_t bytes, size_t offset) {
  const Symbol* variable = FindVariable(host_symbol);
  if (variable == nullptr || offset + bytes > variable->bytes) return nullptr;
  return reinterpret_cast<void*>(variable->at + offset);
}

}  // namespace
}  // namespace sluice::emulator

using sluice::emulator::MemoryKind;
using sluice::emulator::Result;

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return sluice::emulator::Allocate(pointer, bytes, MemoryKind::kDevice);
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t /*stream*/) {
  return sluice::emulator::Allocate(pointer, bytes, MemoryKind::kDevice);
}
cudaError_t cudaMallocManaged(void** pointer, size_t bytes, unsigned /*flags*/) {
  return sluice::emulator::Allocate(pointer, bytes, MemoryKind::kManaged);
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return sluice::emulator::Allocate(pointer, bytes, MemoryKind::kPinned);
}
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned /*flags*/) {
  return sluice::emulator::Allocate(pointer, bytes, MemoryKind::kPinned);
}
cudaError_t cudaFree(void* pointer) {
  sluice::emulator::WaitOnHostForAll();
  return sluice::emulator::Free(pointer, {MemoryKind::kDevice, MemoryKind::kManaged});
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  using namespace sluice::emulator;  // NOLINT: of one function
  const Allocation* found = FindAllocation(reinterpret_cast<u64>(pointer));
  if (found != nullptr && !found->freed) {
    NoteRange(BeginTask(stream, "cudaFreeAsync"), pointer, found->end - found->begin,
              Access::kWrite);
  }
  return sluice::emulator::Free(pointer, {MemoryKind::kDevice});
}
cudaError_t cudaFreeHost(void* pointer) {
  return sluice::emulator::Free(pointer, {MemoryKind::kPinned});
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return sluice::emulator::CopyAndWait(to, from, bytes, kind, "cudaMemcpy");
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return sluice::emulator::Copy(to, from, bytes, kind, {"cudaMemcpyAsync", stream});
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return Result(cudaErrorInvalidPitchValue);
  for (size_t row = 0; row < height; ++row) {
    sluice::emulator::Copy(static_cast<char*>(to) + row * to_pitch,
                           static_cast<const char*>(from) + row * from_pitch, width, kind,
                           {"cudaMemcpy2DAsync", stream});
  }
  return cudaSuccess;
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return sluice::emulator::Fill(to, value, bytes, {"cudaMemset", nullptr});
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return sluice::emulator::Fill(to, value, bytes, {"cudaMemsetAsync", stream});
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset,
                               cudaMemcpyKind kind) {
  void* to = sluice::emulator::PlaceInVariable(symbol, bytes, offset);
  if (to == nullptr) return Result(cudaErrorInvalidSymbol);
  return sluice::emulator::CopyAndWait(to, from, bytes, kind, "cudaMemcpyToSymbol");
}
cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset,
                                 cudaMemcpyKind kind) {
  const void* from = sluice::emulator::PlaceInVariable(symbol, bytes, offset);
  if (from == nullptr) return Result(cudaErrorInvalidSymbol);
  return sluice::emulator::CopyAndWait(to, from, bytes, kind, "cudaMemcpyFromSymbol");
}
cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  *pointer = sluice::emulator::PlaceInVariable(symbol, 0, 0);
  return *pointer == nullptr ? Result(cudaErrorInvalidSymbol) : cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  *total = sluice::emulator::TotalMemory();
  *available = *total - sluice::emulator::CurrentMemoryUse(MemoryKind::kDevice).bytes_now -
               sluice::emulator::CurrentMemoryUse(MemoryKind::kManaged).bytes_now;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const auto at = reinterpret_cast<sluice::emulator::u64>(pointer);
  const auto* found =
      sluice::emulator::IsDeviceAddress(at) ? sluice::emulator::FindAllocation(at) : nullptr;
  *attributes = {};
  attributes->type = cudaMemoryTypeUnregistered;
  attributes->device = -2;
  attributes->hostPointer = const_cast<void*>(pointer);
  if (found == nullptr || found->freed) return cudaSuccess;
  attributes->device = 0;
  attributes->devicePointer = const_cast<void*>(pointer);
  attributes->type = found->kind == MemoryKind::kManaged  ? cudaMemoryTypeManaged
                     : found->kind == MemoryKind::kPinned ? cudaMemoryTypeHost
                                                          : cudaMemoryTypeDevice;
  if (attributes->type == cudaMemoryTypeDevice) attributes->hostPointer = nullptr;
  return cudaSuccess;
}

}  // extern "C"
