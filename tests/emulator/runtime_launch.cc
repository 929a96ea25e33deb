// The part of the runtime that nvcc's host code calls: it finds the PTX in the fat binaries,
// connects host functions with kernels, and launches them.
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "emulator/execute.h"
#include "emulator/launch_record.h"
#include "emulator/memory_order.h"
#include "emulator/profile.h"
#include "emulator/report.h"
#include "emulator/runtime.h"

namespace sluice::emulator {
namespace {

// As nvcc lays a fat binary out: the header, then entries, of which kind 1 is PTX text.
struct FatHeader {
  u32 magic;
  u16 version, header_bytes;
  u64 bytes;
};
struct FatEntry {
  u16 kind, version;
  u32 header_bytes;
  u64 bytes;
};
struct FatWrapper {
  int magic, version;
  const FatHeader* header;
  void* file_name;
};
constexpr u16 kPtxEntry = 1;

struct PendingCall {
  dim3 grid, block;
  size_t dynamic_shared_bytes;
  cudaStream_t stream;
};
thread_local std::vector<PendingCall> pending_calls;
thread_local cudaError_t last_error = cudaSuccess;

// The PTX of one object file. Parsed when something of it is first asked for: programs that launch
// nothing start at once.
struct LazyModule {
  const FatHeader* header;
  Module module;
  bool parsed = false;
};
struct LazyKernel {
  LazyModule* owner;
  std::string name;
  RegisteredKernel kernel;
};
struct LazyVariable {
  LazyModule* owner;
  std::string name;
};
// Used by static initializers.
std::map<const void*, LazyKernel>& Kernels() {
  static auto& kernels = *new std::map<const void*, LazyKernel>;
  return kernels;
}
std::map<const void*, LazyVariable>& Variables() {
  static auto& variables = *new std::map<const void*, LazyVariable>;
  return variables;
}
std::mutex& ParsingMutex() {
  static auto& mutex = *new std::mutex;
  return mutex;
}

std::string PtxIn(const FatHeader& header) {
  const char* at = reinterpret_cast<const char*>(&header) + header.header_bytes;
  for (const char* end = at + header.bytes; at < end;) {
    const auto* entry = reinterpret_cast<const FatEntry*>(at);
    if (entry->kind == kPtxEntry) {
      const std::string text(at + entry->header_bytes, entry->bytes);
      const size_t version = text.find(".version");
      if (version == std::string::npos)
        FailOnHost("compressed PTX: compile with nvcc --no-compress");
      return text.c_str() + version;  // up to the text's terminating zero
    }
    at += entry->header_bytes + entry->bytes;
  }
  FailOnHost("no PTX in a fat binary: compile with nvcc -gencode arch=compute_80,code=compute_80");
}

// Call with the mutex held.
Module& Parsed(LazyModule& lazy) {
  if (!lazy.parsed) Parse(PtxIn(*lazy.header), lazy.module);
  lazy.parsed = true;
  return lazy.module;
}

bool IsLaunchable(const Kernel& kernel, dim3 grid, dim3 block) {
  const u64 threads = static_cast<u64>(block.x) * block.y * block.z;
  if (threads == 0 || threads > kernel.most_threads || block.z > 64) return false;
  return grid.x != 0 && grid.x <= 0x7fffffff && grid.y != 0 && grid.y <= 65535 && grid.z != 0 &&
         grid.z <= 65535;
}

std::vector<LaunchRecord>* records = nullptr;
std::mutex records_mutex;

// "sluice::cuda::(anonymous namespace)::Gate<float, 4>(…)" becomes "Gate".
std::string PlainName(const std::string& mangled) {
  int failed = 0;
  char* demangled = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &failed);
  std::string name = failed == 0 ? demangled : mangled;
  std::free(demangled);
  const std::string unnamed = "(anonymous namespace)::";
  for (size_t at; (at = name.find(unnamed)) != std::string::npos;) name.erase(at, unnamed.size());
  name.resize(std::min(name.find_first_of("<("), name.size()));
  name.erase(0, name.find_last_of(": ") + 1);
  return name;
}

// Which bytes of a kernel's parameters it reads: padding of structs is not among them. Where an
// address is computed, all.
std::vector<bool> BytesRead(const Kernel& kernel) {
  std::vector<bool> read(kernel.parameter_bytes, false);
  for (const Instruction& i : kernel.code) {
    if (i.text.find("ld.param") == std::string::npos || i.offset >= kCallParameters) continue;
    const auto base = std::find_if(
        kernel.constants.begin(), kernel.constants.end(),
        [&](const Constant& constant) { return constant.at == i.operands[i.elements]; });
    if (base == kernel.constants.end()) return std::vector<bool>(kernel.parameter_bytes, true);
    const size_t first = base->value + static_cast<s64>(i.offset);
    std::fill_n(read.begin() + static_cast<std::ptrdiff_t>(first), i.elements * i.bytes, true);
  }
  return read;
}

void Record(const Kernel& kernel, const LaunchShape& shape, void** arguments) {
  const std::lock_guard lock(records_mutex);
  if (records == nullptr) return;
  LaunchRecord record = {PlainName(kernel.name), {}, {}, shape.dynamic_shared_bytes, {}};
  std::copy_n(std::begin(shape.grid), 3, record.grid.begin());
  std::copy_n(std::begin(shape.block), 3, record.block.begin());
  const std::vector<bool> read = BytesRead(kernel);
  for (size_t i = 0; i < kernel.parameters.size(); ++i) {
    const auto* bytes = static_cast<const u8*>(arguments[i]);
    const Symbol& parameter = kernel.parameters[i];
    for (u64 b = 0; b < parameter.bytes; ++b) {
      record.arguments.push_back(read[parameter.at + b] ? bytes[b] : 0);
    }
  }
  records->push_back(std::move(record));
}

cudaError_t Run(const void* function, const PendingCall& call, void** arguments) {
  const RegisteredKernel* found = FindKernel(function);
  if (found == nullptr) return Result(cudaErrorInvalidDeviceFunction);
  const Kernel& kernel = *found->kernel;
  if (!IsLaunchable(kernel, call.grid, call.block)) return Result(cudaErrorInvalidConfiguration);
  if (call.dynamic_shared_bytes > found->most_dynamic_shared) return Result(cudaErrorInvalidValue);
  const LaunchShape shape = {{call.grid.x, call.grid.y, call.grid.z},
                             {call.block.x, call.block.y, call.block.z},
                             call.dynamic_shared_bytes};
  Record(kernel, shape, arguments);
  Execute(kernel, shape, arguments,
          BeginTask(call.stream, "kernel " + kernel.name, shape.blocks()));
  return cudaSuccess;
}

}  // namespace

void RecordLaunches(std::vector<LaunchRecord>* to) {
  const std::lock_guard lock(records_mutex);
  records = to;
}

cudaError_t Result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

RegisteredKernel* FindKernel(const void* host_function) {
  const std::lock_guard lock(ParsingMutex());
  const auto found = Kernels().find(host_function);
  if (found == Kernels().end()) return nullptr;
  LazyKernel& lazy = found->second;
  if (lazy.kernel.kernel == nullptr) {
    auto& kernels = Parsed(*lazy.owner).kernels;
    const auto named = kernels.find(lazy.name);
    if (named == kernels.end()) return nullptr;
    lazy.kernel.kernel = &named->second;
  }
  return &lazy.kernel;
}

std::vector<const Kernel*> LaunchedKernels() {
  const std::lock_guard lock(ParsingMutex());
  std::vector<const Kernel*> launched;
  for (const auto& [function, lazy] : Kernels()) {
    if (lazy.kernel.kernel != nullptr) launched.push_back(lazy.kernel.kernel);
  }
  return launched;
}

const Symbol* FindVariable(const void* host_symbol) {
  const std::lock_guard lock(ParsingMutex());
  const auto found = Variables().find(host_symbol);
  if (found == Variables().end()) return nullptr;
  auto& globals = Parsed(*found->second.owner).globals;
  const auto named = globals.find(found->second.name);
  return named == globals.end() ? nullptr : &named->second;
}

}  // namespace sluice::emulator

using sluice::emulator::LazyModule;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  const auto* fat = static_cast<const sluice::emulator::FatWrapper*>(wrapper);
  return reinterpret_cast<void**>(new LazyModule{fat->header, {}});
}
void __cudaRegisterFatBinaryEnd(void** /*module*/) {}
void __cudaUnregisterFatBinary(void** /*handle*/) {
  static const bool printed = [] {
    if (std::getenv("SLUICE_EMULATOR_PROFILE") != nullptr) sluice::emulator::PrintProfile();
    return true;
  }();
  (void)printed;
}
char __cudaInitModule(void** /*module*/) { return 1; }

void __cudaRegisterFunction(void** handle, const char* host_function, char* /*device_function*/,
                            const char* name, int /*thread_limit*/, uint3* /*tid*/, uint3* /*bid*/,
                            dim3* /*block*/, dim3* /*grid*/, int* /*warp_size*/) {
  sluice::emulator::Kernels()[host_function] = {reinterpret_cast<LazyModule*>(handle), name, {}};
}
void __cudaRegisterVar(void** handle, char* host_symbol, char* /*device_address*/, const char* name,
                       int /*external*/, size_t /*bytes*/, int /*constant*/, int /*global*/) {
  sluice::emulator::Variables()[host_symbol] = {reinterpret_cast<LazyModule*>(handle), name};
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  sluice::emulator::pending_calls.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const sluice::emulator::PendingCall call = sluice::emulator::pending_calls.back();
  sluice::emulator::pending_calls.pop_back();
  *grid = call.grid;
  *block = call.block;
  *shared = call.dynamic_shared_bytes;
  *static_cast<cudaStream_t*>(stream) = call.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared, cudaStream_t stream) {
  return sluice::emulator::Run(kernel, {grid, block, shared, stream}, arguments);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             size_t shared, cudaStream_t stream) {
  return sluice::emulator::Run(function, {grid, block, shared, stream}, arguments);
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = sluice::emulator::last_error;
  sluice::emulator::last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return sluice::emulator::last_error; }

}  // extern "C"
