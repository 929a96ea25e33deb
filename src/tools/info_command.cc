#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/status.h"
#include "core/version.h"
#include "nlohmann/json.hpp"
#include "ops/attention_kernel.h"
#include "ops/processor.h"
#include "runtime/device.h"
#include "tools/commands.h"
#include "train/compute_threads.h"

namespace sluice {
namespace {

// Whether runtime.attention_kernel may be cudnn, for vanilla in bf16 with heads of 64.
std::string DescribeCudnn(bool on_cuda) {
  if (!on_cuda) return "no: no GPU";
  const auto why_not = ops::WhyNotCudnn({}, cuda::ReadCudnnFacts());
  return why_not ? absl::StrCat("no: ", *why_not) : "yes, for what its list of docs/cuda.md names";
}

nlohmann::ordered_json Describe(int threads) {
  const ProcessorFeatures features = ReadProcessorFeatures();
  nlohmann::ordered_json info;
  info["version"] = kVersion;
  info["compiled_in"] = {{"cpu", true}, {"cuda", BuiltWithCuda()}, {"mpi", "Open MPI"}};
  info["processor"] = {{"model", features.model_name},
                       {"usable_cores", features.logical_cores},
                       {"avx2", features.avx2},
                       {"avx512", features.avx512},
                       {"avx512_bf16", features.avx512_bf16},
                       {"amx_bf16", features.amx_bf16}};
  // What runtime.device cuda would run on, or why it cannot.
  const auto device = Device::Open("cuda", 0);
  info["cuda"] = device.ok() ? (*device)->Description() : std::string(device.status().message());
  info["cudnn_attention"] = DescribeCudnn(device.ok());
  info["threads"] = threads;
  for (const OpImplementation& op : cpu::Implementations()) {
    info["implementations"].push_back(
        {{"op", op.op}, {"dtype", op.dtype}, {"implementation", op.implementation}});
  }
  info["matmul_gflops"] = {{"fp32", cpu::MeasureMatmulGflops(false, 2048, 768, 3072, 8)},
                           {"bf16", cpu::MeasureMatmulGflops(true, 2048, 768, 3072, 8)}};
  info["memory_gb_per_s"] = cpu::MeasureMemoryGbPerSecond(5);
  return info;
}

void PrintText(const nlohmann::ordered_json& info) {
  const bool cuda = info["compiled_in"]["cuda"].get<bool>();
  std::printf("sluice %s, built with: CPU kernels, %sMPI (%s)%s\n",
              info["version"].get<std::string>().c_str(), cuda ? "CUDA kernels, " : "",
              info["compiled_in"]["mpi"].get<std::string>().c_str(), cuda ? "" : "; without: CUDA");
  std::printf("devices:   cpu, cuda (%s)\n", info["cuda"].get<std::string>().c_str());
  std::printf("cuDNN's attention: %s\n", info["cudnn_attention"].get<std::string>().c_str());
  const auto& processor = info["processor"];
  auto yes = [&](const char* name) { return processor[name].get<bool>() ? "yes" : "no"; };
  std::printf("processor: %s, %d usable cores, %d threads\n",
              processor["model"].get<std::string>().c_str(), processor["usable_cores"].get<int>(),
              info["threads"].get<int>());
  std::printf("features:  AVX2 %s, AVX-512 %s, AVX-512-bf16 %s, AMX-bf16 %s\n", yes("avx2"),
              yes("avx512"), yes("avx512_bf16"), yes("amx_bf16"));
  std::printf("%-18s %-6s %s\n", "op", "dtype", "implementation");
  for (const auto& op : info["implementations"]) {
    std::printf("%-18s %-6s %s\n", op["op"].get<std::string>().c_str(),
                op["dtype"].get<std::string>().c_str(),
                op["implementation"].get<std::string>().c_str());
  }
  std::printf("measured:  matmul fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s; memory %.1f GB/s\n",
              info["matmul_gflops"]["fp32"].get<double>(),
              info["matmul_gflops"]["bf16"].get<double>(), info["memory_gb_per_s"].get<double>());
}

absl::Status RunInfo(bool json, Communicator& communicator) {
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  const nlohmann::ordered_json info = Describe(threads);
  if (communicator.rank() != 0) return absl::OkStatus();
  if (json) {
    std::printf("%s\n", JsonText(info, 2).c_str());
  } else {
    PrintText(info);
  }
  return absl::OkStatus();
}

}  // namespace

void AddInfoCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "info",
      "Print the version, the processor's features, which code each op runs, and measured rates.");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "As JSON");
  command->footer("Example: sluice info --json");
  command->callback([json, &chosen] {
    chosen.run = [json](Communicator& communicator) { return RunInfo(*json, communicator); };
  });
}

}  // namespace sluice
