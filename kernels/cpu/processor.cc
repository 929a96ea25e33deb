#include "kernels/api/processor.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/bf16.h"
#include "core/check.h"
#include "core/parallel.h"
#include "dnnl.hpp"
#include "kernels/api/linear.h"
#include "kernels/cpu/amx_tile.h"
#include "kernels/cpu/onednn_cache.h"
#include "kernels/cpu/transposed_product.h"

#include "kernels/cpu/highway_targets.h"

#include "hwy/highway.h"

namespace sluice {
namespace {

// The value of the first line "key<blanks>: value" of /proc/cpuinfo; empty when there is none.
std::string ReadCpuInfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (line.compare(0, key.size(), key) != 0 || colon == std::string::npos) continue;
    const size_t key_end = line.find_last_not_of(" \t", colon - 1);
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    if (key_end + 1 == key.size() && value != std::string::npos) return line.substr(value);
  }
  return "";
}

// Whether the kernel lists `flag`, which it does only for what it lets programs use. The compiler's
// __builtin_cpu_supports of GCC 12 does not know AMX and F16C.
class CpuFlags {
 public:
  CpuFlags() : flags_(absl::StrCat(" ", ReadCpuInfo("flags"), " ")) {}
  bool Has(const std::string& flag) const {
    return flags_.find(absl::StrCat(" ", flag, " ")) != std::string::npos;
  }
  bool HasAll(std::initializer_list<const char*> flags) const {
    return std::all_of(flags.begin(), flags.end(), [this](const char* f) { return Has(f); });
  }

 private:
  std::string flags_;
};

int AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more cores than the fixed set has room for.
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return ComputeThreads();
  return std::max(1, CPU_COUNT(&set));
}

// Fewer repetitions where each takes seconds: there the first counts.
template <typename F>
double BestSeconds(int repetitions, const F& run) {
  CHECK_GE(repetitions, 1);
  constexpr double kSlowSeconds = 1;
  double best = 0;
  for (int i = -1; i < repetitions; ++i) {  // the first warms up
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (i <= 0 || seconds.count() < best) best = seconds.count();
    if (seconds.count() >= kSlowSeconds) break;
  }
  return best;
}

template <typename T>
double MatmulGflops(int64_t rows, int64_t inner, int64_t columns, int repetitions) {
  const std::vector<T> x(rows * inner, T(0.5f)), weight(columns * inner, T(0.25f));
  std::vector<T> y(rows * columns);
  cpu::LinearCache cache;
  constexpr int64_t kManyRows = 1 << 20;  // so many that packing pays
  constexpr int64_t kAlignment = 64;
  const int64_t packed_bytes = cpu::PackedForwardBytes<T>(cache, kManyRows, inner, columns);
  std::vector<char> packed_memory(packed_bytes + kAlignment);
  PackedWeight packed;
  if (packed_bytes > 0) {
    const auto address = reinterpret_cast<uintptr_t>(packed_memory.data());
    packed.forward = packed_memory.data() + (kAlignment - address % kAlignment) % kAlignment;
  }
  bool ok = true;
  const double seconds = BestSeconds(repetitions, [&] {
    ok = ok && cpu::LinearForward<T>(cache, {.x = x.data(),
                                             .weight = weight.data(),
                                             .bias = nullptr,
                                             .y = y.data(),
                                             .N = rows,
                                             .K = inner,
                                             .M = columns,
                                             .x_stride = inner,
                                             .y_stride = columns,
                                             .packed = &packed})
                   .ok();
  });
  return ok ? 2e-9 * static_cast<double>(rows * inner * columns) / seconds : 0;
}

// The name of the instruction set that Highway's vector kernels run on.
std::string HighwayName() {
  // Better targets have lower bits; HWY_TARGETS are those that the kernels are compiled for.
  const int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return absl::StrCat("Highway ", hwy::TargetName(targets & -targets));
}

std::string OneDnnName() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto includes = [isa](dnnl::cpu_isa wanted) {
    return (isa & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
  };
  if (includes(dnnl::cpu_isa::avx512_core_amx)) return "oneDNN AMX";
  if (includes(dnnl::cpu_isa::avx512_core_bf16)) return "oneDNN AVX-512 BF16";
  if (includes(dnnl::cpu_isa::avx512_core)) return "oneDNN AVX-512";
  if (includes(dnnl::cpu_isa::avx2)) return "oneDNN AVX2";
  return includes(dnnl::cpu_isa::avx) ? "oneDNN AVX" : "oneDNN SSE4.1";
}

}  // namespace

ProcessorFeatures ReadProcessorFeatures() {
  const CpuFlags flags;
  ProcessorFeatures features;
  features.model_name = ReadCpuInfo("model name");
  if (features.model_name.empty()) features.model_name = "unknown";
  features.logical_cores = AllowedCores();
  features.avx2 = flags.HasAll({"avx2", "fma", "f16c"});
  features.avx512 = flags.HasAll({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  features.avx512_bf16 = features.avx512 && flags.Has("avx512_bf16");
  features.amx_bf16 = flags.HasAll({"amx_tile", "amx_bf16"});
  return features;
}

namespace cpu {

std::vector<OpImplementation> Implementations() {
  std::vector<OpImplementation> lines;
  const std::string product = OneDnnName(), vectors = HighwayName();
  // bf16 instructions do not serve fp32.
  const std::string gradients =
      HasFastTransposedProduct() ? absl::StrCat(", weight gradients ", vectors) : "";
  const std::string in_float =
      absl::StrCat(HasNativeBf16Matmul() ? "oneDNN AVX-512" : product, gradients);
  lines.push_back({"linear", "fp32", in_float});
  lines.push_back({"linear", "bf16",
                   HasNativeBf16Matmul() ? product : absl::StrCat(in_float, " by way of fp32")});
  lines.push_back({"integer_linear", "int8",
                   HasExactInt8Matmul() ? product : absl::StrCat(product, " in halves")});
  lines.push_back({"attention", "fp32", vectors});
  // The products of attention; AMX is only used beside the widest vectors (attention_amx.h).
  const bool on_tiles = HasAmxTiles() && absl::EndsWith(vectors, "AVX3");
  lines.push_back({"attention", "bf16", on_tiles ? absl::StrCat(vectors, ", AMX") : vectors});
  for (const char* op : {"attention_gate", "layer_norm", "embedding", "activation", "dropout",
                         "cross_entropy", "adamw", "row_moments"}) {
    for (const char* dtype : {"fp32", "bf16"}) lines.push_back({op, dtype, vectors});
  }
  return lines;
}

double MeasureMatmulGflops(bool bf16, int64_t rows, int64_t inner, int64_t columns,
                           int repetitions) {
  return bf16 ? MatmulGflops<sluice::bf16>(rows, inner, columns, repetitions)
              : MatmulGflops<float>(rows, inner, columns, repetitions);
}

double MeasureMemoryGbPerSecond(int repetitions) {
  constexpr int64_t kCount = int64_t{16} << 20;  // floats: 64 MiB
  const std::vector<float> b(kCount, 1.0f), c(kCount, 2.0f);
  std::vector<float> a(kCount);
  const double seconds = BestSeconds(repetitions, [&] {
    ParallelFor(kCount, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) a[i] = b[i] + 0.5f * c[i];
    });
  });
  CHECK_EQ(a[kCount - 1], 2.0f);  // nothing was optimized away
  return 3e-9 * static_cast<double>(kCount * sizeof(float)) / seconds;
}

}  // namespace cpu
}  // namespace sluice
