#include "emulator/profile.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

#include "emulator/device_memory.h"
#include "emulator/lanes.h"
#include "emulator/report.h"
#include "emulator/runtime.h"

namespace sluice::emulator {
namespace {

constexpr u64 kSectorBytes = 32;

unsigned long Number(u64 value) { return static_cast<unsigned long>(value); }

void Add(u64& counter, u64 value) { __atomic_fetch_add(&counter, value, __ATOMIC_RELAXED); }

// One bit for each sector of the device's address space: which of them a launch has touched.
class SectorSet {
 public:
  SectorSet() {
    const Region region = DeviceRegion();
    begin_ = region.begin;
    bytes_ = region.bytes / kSectorBytes / 8;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) FailOnHost("no memory for the profile's sectors");
    words_ = static_cast<u64*>(memory);
  }

  void Insert(u64 at, u32 bytes) {
    const u64 last = (at + bytes - 1 - begin_) / kSectorBytes;
    for (u64 sector = (at - begin_) / kSectorBytes; sector <= last; ++sector) {
      const u64 bit = u64{1} << sector % 64;
      u64& word = words_[sector / 64];
      if ((__atomic_load_n(&word, __ATOMIC_RELAXED) & bit) != 0) continue;
      if ((__atomic_fetch_or(&word, bit, __ATOMIC_RELAXED) & bit) == 0) Add(size_, 1);
    }
  }
  // How many; then there are none.
  u64 Empty() {
    const u64 size = size_;
    if (size != 0) madvise(words_, bytes_, MADV_DONTNEED);
    size_ = 0;
    return size;
  }

 private:
  u64 begin_, bytes_, size_ = 0;
  u64* words_;
};
SectorSet& SectorsRead() {
  static SectorSet set;
  return set;
}
SectorSet& SectorsWritten() {
  static SectorSet set;
  return set;
}

// "mul.wide.u32" of "@%p1 mul.wide.u32 %rd1, …".
std::string OpcodeOf(const std::string& text) {
  const size_t begin = text[0] == '@' ? text.find(' ') + 1 : 0;
  return text.substr(begin, text.find_first_of(" \t;", begin) - begin);
}
bool BeginsWithOneOf(const std::string& text, std::initializer_list<const char*> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const char* beginning) { return text.rfind(beginning, 0) == 0; });
}

// Which instructions lie within a loop: between a branch backwards and its target.
std::vector<bool> InLoops(const Kernel& kernel) {
  std::vector<bool> in_loop(kernel.code.size());
  for (size_t at = 0; at < kernel.code.size(); ++at) {
    const Instruction& instruction = kernel.code[at];
    if (OpcodeOf(instruction.text).rfind("bra", 0) != 0 || instruction.target > at) continue;
    std::fill(in_loop.begin() + instruction.target, in_loop.begin() + static_cast<long>(at), true);
  }
  return in_loop;
}

void AddClass(const Instruction& instruction, KernelProfile& profile) {
  const std::string opcode = OpcodeOf(instruction.text);
  const bool is_float =
      opcode.find(".f") != std::string::npos || opcode.find("bf16") != std::string::npos;
  if (BeginsWithOneOf(opcode, {"mma."})) {
    profile.tensor_instructions += instruction.executed;
  } else if (BeginsWithOneOf(opcode, {"mul", "mad"}) && !is_float) {
    profile.integer_multiplications += instruction.executed;
  } else if (BeginsWithOneOf(opcode, {"ex2", "lg2", "rcp", "sqrt", "rsqrt", "tanh", "div"})) {
    profile.special_functions += instruction.executed;
  }
}

KernelProfile ProfileOf(const Kernel& kernel) {
  KernelProfile profile = {.name = kernel.name, .launches = kernel.launches};
  for (const auto& [number, path] : kernel.module->files) {
    if (path.size() > 3 && path.compare(path.size() - 3, 3, ".cu") == 0) {
      profile.file = path.substr(path.rfind('/') + 1);
    }
  }
  const std::vector<bool> in_loop = InLoops(kernel);
  for (size_t at = 0; at < kernel.code.size(); ++at) {
    const Instruction& instruction = kernel.code[at];
    profile.warp_instructions += instruction.executed;
    AddClass(instruction, profile);
    for (Counts* counts : {&profile.shared, in_loop[at] ? &profile.shared_in_loops : nullptr}) {
      if (counts == nullptr) continue;
      counts->actual += instruction.wavefronts;
      counts->ideal += instruction.ideal_wavefronts;
    }
    profile.global.actual += instruction.sectors;
    profile.global.ideal += instruction.ideal_sectors;
  }
  profile.sectors_read = kernel.sectors_read;
  profile.sectors_written = kernel.sectors_written;
  return profile;
}

void Clear(const Kernel& kernel) {
  kernel.launches = kernel.sectors_read = kernel.sectors_written = 0;
  for (const Instruction& instruction : kernel.code) {
    instruction.executed = instruction.wavefronts = instruction.ideal_wavefronts = 0;
    instruction.sectors = instruction.ideal_sectors = 0;
  }
}

void PrintKernel(const Kernel& kernel) {
  const KernelProfile profile = ProfileOf(kernel);
  std::fprintf(stderr,
               "%s: %lu launches, %lu warp instructions, %lu of tensor cores, %lu sectors read, "
               "%lu written\n",
               kernel.name.c_str(), Number(profile.launches), Number(profile.warp_instructions),
               Number(profile.tensor_instructions), Number(profile.sectors_read),
               Number(profile.sectors_written));
  struct Line {
    Counts global, shared;
  };
  std::map<std::string, Line> lines;
  for (const Instruction& instruction : kernel.code) {
    if (instruction.sectors + instruction.wavefronts == 0) continue;
    Line& line = lines[SourceOf(*kernel.module, instruction.place)];
    line.global.actual += instruction.sectors;
    line.global.ideal += instruction.ideal_sectors;
    line.shared.actual += instruction.wavefronts;
    line.shared.ideal += instruction.ideal_wavefronts;
  }
  for (const auto& [source, line] : lines) {
    std::fprintf(stderr, "  %s:", source.c_str());
    if (line.global.actual != 0) {
      std::fprintf(stderr, " %lu global sectors, at best %lu", Number(line.global.actual),
                   Number(line.global.ideal));
    }
    if (line.shared.actual != 0) {
      std::fprintf(stderr, " %lu shared wavefronts, at best %lu", Number(line.shared.actual),
                   Number(line.shared.ideal));
    }
    std::fprintf(stderr, "\n");
  }
}

}  // namespace

bool profiling = std::getenv("SLUICE_EMULATOR_PROFILE") != nullptr;

// A wavefront serves each bank's word once; accesses wider than 4 bytes go in parts of 128 bytes.
void CountShared(const Instruction& i, const u32* at, u32 lanes, u32 bytes) {
  const u32 lanes_a_pass = 128 / std::max(bytes, 4u);
  u32 words[32][32], counts[32] = {};  // of each bank
  u32 seen = 0, wavefronts = 0, passes = 0;
  const auto finish_pass = [&] {
    wavefronts += *std::max_element(counts, counts + 32);
    std::fill(counts, counts + 32, 0);
    ++passes;
  };
  ForEachLane(lanes, [&](int lane) {
    for (u32 k = 0; k < std::max(bytes / 4, 1u); ++k) {
      const u32 word = at[lane] / 4 + k, bank = word % 32;
      u32* const end = words[bank] + counts[bank];
      if (std::find(words[bank], end, word) == end) words[bank][counts[bank]++] = word;
    }
    if (++seen % lanes_a_pass == 0) finish_pass();
  });
  if (seen % lanes_a_pass != 0) finish_pass();
  Add(i.wavefronts, wavefronts);
  Add(i.ideal_wavefronts, passes);
}

// Lanes that read the same bytes need them once. Accesses are aligned, so two of them are the same
// bytes or none in common.
void CountGlobal(const Instruction& i, const u64* at, u32 lanes, u32 bytes) {
  u64 addresses[32];
  size_t count = 0;
  ForEachLane(lanes, [&](int lane) { addresses[count++] = at[lane]; });
  std::sort(addresses, addresses + count);
  count = static_cast<size_t>(std::unique(addresses, addresses + count) - addresses);
  u64 sectors = 0, next = 0;
  for (size_t k = 0; k < count; ++k) {
    const u64 first = std::max(addresses[k] / kSectorBytes, next);
    const u64 end = (addresses[k] + bytes - 1) / kSectorBytes + 1;
    if (end > first) sectors += end - first;
    next = std::max(next, end);
  }
  Add(i.sectors, sectors);
  Add(i.ideal_sectors, (count * bytes + kSectorBytes - 1) / kSectorBytes);
}

void NoteSectors(u64 at, u32 bytes, Access access) {
  if (access != Access::kWrite) SectorsRead().Insert(at, bytes);
  if (access != Access::kRead) SectorsWritten().Insert(at, bytes);
}

void FinishLaunch(const Kernel& kernel) {
  static std::mutex mutex;  // streams of several host threads
  const std::lock_guard lock(mutex);
  ++kernel.launches;
  kernel.sectors_read += SectorsRead().Empty();
  kernel.sectors_written += SectorsWritten().Empty();
}

void StartProfile() {
  profiling = true;
  for (const Kernel* kernel : LaunchedKernels()) Clear(*kernel);
}

std::vector<KernelProfile> TakeProfile() {
  std::vector<KernelProfile> profiles;
  for (const Kernel* kernel : LaunchedKernels()) {
    if (kernel->launches != 0) profiles.push_back(ProfileOf(*kernel));
    Clear(*kernel);
  }
  std::sort(profiles.begin(), profiles.end(), [](const auto& a, const auto& b) {
    return a.name != b.name ? a.name < b.name : a.file < b.file;
  });
  return profiles;
}

void PrintProfile() {
  for (const Kernel* kernel : LaunchedKernels()) {
    if (kernel->launches != 0) PrintKernel(*kernel);
  }
}

}  // namespace sluice::emulator
