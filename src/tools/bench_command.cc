#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/load.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/status.h"
#include "nlohmann/json.hpp"
#include "ops/processor.h"
#include "tools/commands.h"
#include "train/all_reduce_benchmark.h"
#include "train/attention_benchmark.h"
#include "train/compute_threads.h"
#include "train/engine.h"
#include "train/step_benchmark.h"
#include "train/telemetry_benchmark.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct BenchArguments {
  std::string what;
  std::vector<std::string> config_and_overrides;
  int64_t batch = 16, length = 128, steps = 8;
  std::string precision, variant;
  std::string device = "cpu";                        // all-reduce
  std::vector<double> mebibytes = {1, 16, 64, 256};  // all-reduce; gradients' buckets have 16
  bool causal = false, json = false;
};

// The file, if one is named, else BERT-base with VGA; then overrides and flags.
absl::StatusOr<RunConfig> BenchConfig(const BenchArguments& arguments) {
  std::string path;
  std::vector<std::string> overrides;
  for (const std::string& word : arguments.config_and_overrides) {
    if (absl::StrContains(word, '=')) {
      overrides.push_back(word);
    } else if (path.empty()) {
      path = word;
    } else {
      return UsageError("more than one configuration file", word);
    }
  }
  RunConfig config;
  config.name = "bert_base";
  config.model.attention.variant = "gated";
  if (!path.empty()) {
    ASSIGN_OR_RETURN(config, LoadRunConfig(path, overrides, ConfigUse::kInspection));
  } else if (!overrides.empty()) {
    return UsageError("overrides need a configuration file", overrides[0]);
  }
  if (!arguments.precision.empty()) config.training.precision = arguments.precision;
  if (arguments.variant == "vanilla") config.model.attention.variant = "vanilla";
  if (arguments.variant == "vga") {
    config.model.attention.variant = "gated";
    config.model.attention.gate = GateConfig{};
  }
  if (config.model.vocab_size == 0) config.model.vocab_size = 30522;
  return config;
}

absl::Status BenchMatmul(const BenchArguments& arguments, const RunConfig& config) {
  const ModelConfig& m = config.model;
  const int64_t N = arguments.batch * arguments.length;
  const struct {
    const char* name;
    int64_t inner, columns;
  } shapes[] = {{"qkv", m.hidden_size, 3 * m.hidden_size},
                {"attention output", m.hidden_size, m.hidden_size},
                {"feed-forward up", m.hidden_size, m.intermediate_size},
                {"feed-forward down", m.intermediate_size, m.hidden_size}};
  Json report = {{"rows", N}, {"threads", ComputeThreads()}};
  for (const auto& shape : shapes) {
    report["products"].push_back(
        {{"product", shape.name},
         {"inner", shape.inner},
         {"columns", shape.columns},
         {"fp32_gflops", cpu::MeasureMatmulGflops(false, N, shape.inner, shape.columns, 8)},
         {"bf16_gflops", cpu::MeasureMatmulGflops(true, N, shape.inner, shape.columns, 8)}});
  }
  if (arguments.json) {
    std::printf("%s\n", JsonText(report).c_str());
    return absl::OkStatus();
  }
  std::printf("y = x W^T with %ld rows, %d threads\n%-18s %8s %8s %14s %14s\n",
              static_cast<long>(N), ComputeThreads(), "product", "inner", "columns", "fp32 GFLOP/s",
              "bf16 GFLOP/s");
  for (const Json& product : report["products"]) {
    std::printf("%-18s %8d %8d %14.0f %14.0f\n", product["product"].get<std::string>().c_str(),
                product["inner"].get<int>(), product["columns"].get<int>(),
                product["fp32_gflops"].get<double>(), product["bf16_gflops"].get<double>());
  }
  return absl::OkStatus();
}

// One line a variant. `ours`: of our kernel where `timings` are cuDNN's, else null.
void PrintTimings(const BenchArguments& arguments, const char* kernel,
                  const std::vector<AttentionTiming>& timings,
                  const std::vector<AttentionTiming>* ours) {
  const double vanilla = timings[0].forward_s + timings[0].backward_s;
  for (size_t i = 0; i < timings.size(); ++i) {
    const AttentionTiming& timing = timings[i];
    const double relative = (timing.forward_s + timing.backward_s) / vanilla;
    Json line = {{"kernel", kernel},
                 {"variant", timing.variant},
                 {"forward_s", timing.forward_s},
                 {"backward_s", timing.backward_s},
                 {"forward_gflops", timing.forward_gflops},
                 {"backward_gflops", timing.backward_gflops},
                 {"of_vanilla", relative}};
    std::string beside;
    if (ours != nullptr) {
      const double forward = (*ours)[i].forward_s / timing.forward_s;
      const double backward = (*ours)[i].backward_s / timing.backward_s;
      line["sluice_over_cudnn_forward"] = forward;
      line["sluice_over_cudnn_backward"] = backward;
      beside = absl::StrFormat("  ours / cuDNN: forward %.2f, backward %.2f", forward, backward);
    }
    if (arguments.json) {
      std::printf("%s\n", JsonText(line).c_str());
    } else {
      std::printf("%-6s %-16s %12.2f %12.0f %12.2f %12.0f %10.3f%s\n", kernel,
                  timing.variant.c_str(), 1e3 * timing.forward_s, timing.forward_gflops,
                  1e3 * timing.backward_s, timing.backward_gflops, relative, beside.c_str());
    }
  }
}

// On a GPU without dropout, and once more by cuDNN where that can.
absl::Status BenchAttention(const BenchArguments& arguments, const RunConfig& config) {
  const int64_t heads = config.model.num_attention_heads;
  const bool on_cuda = config.runtime.device == "cuda";
  AttentionBenchmarkOptions options = {
      .batch = arguments.batch,
      .length = arguments.length,
      .heads = heads,
      .head_size = config.model.hidden_size / heads,
      .causal = arguments.causal,
      .dropout = on_cuda ? 0 : config.model.attention_probs_dropout_prob,
      .device = config.runtime.device,
      .attention_kernel = "sluice"};
  ASSIGN_OR_RETURN(options.dtype, ParsePrecision(config.training.precision));
  if (options.dtype == DType::kFloat16 && !on_cuda) {
    return UsageError("CPUs have no fp16 kernels", "",
                      "take --precision bf16, or runtime.device=cuda");
  }
  ASSIGN_OR_RETURN(const std::vector<AttentionTiming> ours, BenchmarkAttention(options));
  if (!arguments.json) {
    std::printf("attention, B=%ld T=%ld H=%ld D=%ld %s%s\n%-6s %-16s %12s %12s %12s %12s %10s\n",
                static_cast<long>(arguments.batch), static_cast<long>(arguments.length),
                static_cast<long>(heads), static_cast<long>(options.head_size),
                config.training.precision.c_str(), arguments.causal ? " causal" : "", "kernel",
                "variant", "forward ms", "GFLOP/s", "backward ms", "GFLOP/s", "of vanilla");
  }
  PrintTimings(arguments, "sluice", ours, nullptr);
  if (!on_cuda) return absl::OkStatus();
  options.attention_kernel = "cudnn";
  const auto cudnn = BenchmarkAttention(options);
  if (ExitCodeOf(cudnn.status()) == ExitCode::kUsage) {  // it cannot, and says why
    const std::string reason(cudnn.status().message());
    std::printf("%s\n", arguments.json
                            ? Json{{"kernel", "cudnn"}, {"not_run", reason}}.dump().c_str()
                            : absl::StrCat("cudnn: not run: ", reason).c_str());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(cudnn.status());
  PrintTimings(arguments, "cudnn", *cudnn, &ours);
  return absl::OkStatus();
}

Json StepJson(const BenchArguments& arguments, const RunConfig& config,
              const StepBenchmark& result) {
  Json report = {
      {"model", config.name},
      {"variant", config.model.attention.variant},
      {"dtype", config.training.precision},
      {"device", result.device},
      {"batch", arguments.batch},
      {"length", arguments.length},
      {"threads", ComputeThreads()},
      {"parameters", result.parameters},
      {"tokens_per_s", result.tokens_per_s},
      {"step_s", result.median_s},
      {"min_s", result.min_s},
      {"max_s", result.max_s},
      {"first_step_s", result.first_step_s},
      {"loss", result.loss},
      {"matmul_gflops", result.matmul_gflops},
      {"matmul_share", result.matmul_share},
      {"planned_mib", static_cast<double>(result.planned_bytes) / (1 << 20)},
      {"peak_resident_mib", static_cast<double>(result.peak_resident_bytes) / (1 << 20)}};
  for (const OpTimes::Entry& op : result.ops) {
    report["ops"].push_back(
        {{"op", std::string(op.op)}, {"seconds", op.seconds}, {"calls", op.calls}});
  }
  return report;
}

void PrintStep(const Json& report) {
  auto number = [&](const char* name) { return report[name].get<double>(); };
  std::printf("%s, %s attention, %s, batch %ld x %ld, %d threads on %s: %.1f tokens/s\n",
              report["model"].get<std::string>().c_str(),
              report["variant"].get<std::string>().c_str(),
              report["dtype"].get<std::string>().c_str(), report["batch"].get<long>(),
              report["length"].get<long>(), report["threads"].get<int>(),
              report["device"].get<std::string>().c_str(), number("tokens_per_s"));
  std::printf("step %.3f s (fastest %.3f, slowest %.3f, first %.3f), loss %.4f\n", number("step_s"),
              number("min_s"), number("max_s"), number("first_step_s"), number("loss"));
  std::printf("%.1f %% of the measured matmul rate of %.0f GFLOP/s\n", 100 * number("matmul_share"),
              number("matmul_gflops"));
  std::printf("memory: planned %.0f MiB, peak resident %.0f MiB\n", number("planned_mib"),
              number("peak_resident_mib"));
  std::printf("%-26s %10s %7s %7s\n", "op", "ms a step", "share", "calls");
  double accounted = 0;
  for (const Json& op : report["ops"]) {
    const double seconds = op["seconds"].get<double>();
    accounted += seconds;
    std::printf("%-26s %10.2f %6.1f%% %7ld\n", op["op"].get<std::string>().c_str(), 1e3 * seconds,
                100 * seconds / number("step_s"), op["calls"].get<long>());
  }
  std::printf("%-26s %10.2f %6.1f%%\n", "between ops", 1e3 * (number("step_s") - accounted),
              100 * (1 - accounted / number("step_s")));
}

absl::Status BenchStep(const BenchArguments& arguments, const RunConfig& config) {
  ASSIGN_OR_RETURN(const StepBenchmark result, BenchmarkStep({.config = config,
                                                              .batch = arguments.batch,
                                                              .length = arguments.length,
                                                              .steps = arguments.steps}));
  const Json report = StepJson(arguments, config, result);
  if (arguments.json) {
    std::printf("%s\n", JsonText(report).c_str());
  } else {
    PrintStep(report);
  }
  return absl::OkStatus();
}

absl::Status BenchTelemetry(const BenchArguments& arguments, const RunConfig& config) {
  ASSIGN_OR_RETURN(const TelemetryBenchmark result, BenchmarkTelemetry({.config = config,
                                                                        .batch = arguments.batch,
                                                                        .length = arguments.length,
                                                                        .steps = arguments.steps}));
  if (arguments.json) {
    Json report = {{"device", result.device},
                   {"batch", arguments.batch},
                   {"length", arguments.length},
                   {"threads", ComputeThreads()},
                   {"step_s", result.step_s},
                   {"planned_mib", static_cast<double>(result.planned_bytes) / (1 << 20)}};
    for (const TelemetryCost& cost : result.costs) {
      report[cost.name] = {
          {"look_s", cost.look_s}, {"every", cost.every}, {"share", cost.share(result.step_s)}};
    }
    report["share"] = result.share();
    std::printf("%s\n", JsonText(report).c_str());
    return absl::OkStatus();
  }
  std::printf(
      "step %.3f s, batch %ld x %ld, %d threads on %s; %.1f MiB planned for telemetry\n"
      "%-12s %12s %8s %14s\n",
      result.step_s, static_cast<long>(arguments.batch), static_cast<long>(arguments.length),
      ComputeThreads(), result.device.c_str(),
      static_cast<double>(result.planned_bytes) / (1 << 20), "telemetry", "ms a look", "every",
      "% of a step");
  for (const TelemetryCost& cost : result.costs) {
    std::printf("%-12s %12.3f %8ld %14.4f\n", cost.name.c_str(), 1e3 * cost.look_s,
                static_cast<long>(cost.every), 100 * cost.share(result.step_s));
  }
  std::printf("%-12s %36.4f\n", "together", 100 * result.share());
  return absl::OkStatus();
}

absl::Status BenchAllReduce(const BenchArguments& arguments, Communicator& communicator) {
  if (!arguments.config_and_overrides.empty()) {
    return UsageError("bench all-reduce takes no configuration", arguments.config_and_overrides[0]);
  }
  AllReduceBenchmarkOptions options = {
      .device = arguments.device, .bytes = {}, .steps = arguments.steps};
  for (const double mebibytes : arguments.mebibytes) {
    options.bytes.push_back(static_cast<int64_t>(mebibytes * (1 << 20)));
  }
  ASSIGN_OR_RETURN(const AllReduceBenchmark result, BenchmarkAllReduce(options, communicator));
  if (communicator.rank() != 0) return absl::OkStatus();
  if (!arguments.json) {
    std::printf("sum of fp32 over %d ranks on %s by %s%s\n%12s %12s %18s %12s\n",
                communicator.world_size(), result.device.c_str(), result.communicator.c_str(),
                result.emulated ? "; times of an emulator say nothing of a GPU" : "", "MiB", "ms",
                "algorithm GB/s", "bus GB/s");
  }
  for (const AllReduceTiming& timing : result.timings) {
    if (arguments.json) {
      std::printf("%s\n", Json{{"ranks", communicator.world_size()},
                               {"device", result.device},
                               {"communicator", result.communicator},
                               {"emulated", result.emulated},
                               {"bytes", timing.bytes},
                               {"seconds", timing.seconds},
                               {"algorithm_bytes_per_s", timing.algorithm_bandwidth},
                               {"bus_bytes_per_s", timing.bus_bandwidth}}
                              .dump()
                              .c_str());
    } else {
      std::printf("%12.4f %12.4f %18.3f %12.3f\n", static_cast<double>(timing.bytes) / (1 << 20),
                  1e3 * timing.seconds, 1e-9 * timing.algorithm_bandwidth,
                  1e-9 * timing.bus_bandwidth);
    }
  }
  return absl::OkStatus();
}

absl::Status RunBench(const BenchArguments& arguments, Communicator& communicator) {
  if (arguments.what == "all-reduce") return BenchAllReduce(arguments, communicator);
  if (communicator.world_size() > 1)
    return UsageError("this bench runs on one rank: start it without mpirun");
  ASSIGN_OR_RETURN(const RunConfig config, BenchConfig(arguments));
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, config.runtime.threads));
  SetComputeThreads(threads);
  if (arguments.length > config.model.max_position_embeddings) {
    return UsageError("--length is larger than model.max_position_embeddings", "",
                      absl::StrCat(arguments.length, " > ", config.model.max_position_embeddings));
  }
  if (arguments.what == "matmul") return BenchMatmul(arguments, config);
  if (arguments.what == "attention") return BenchAttention(arguments, config);
  if (arguments.what == "telemetry") return BenchTelemetry(arguments, config);
  return BenchStep(arguments, config);
}

}  // namespace

void AddBenchCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "bench",
      "Measure matrix products, attention, a training step, telemetry, or sums over ranks.");
  auto arguments = std::make_shared<BenchArguments>();
  command->add_option("what", arguments->what, "matmul, attention, step, telemetry or all-reduce")
      ->required()
      ->check(CLI::IsMember({"matmul", "attention", "step", "telemetry", "all-reduce"}));
  command->add_option("config", arguments->config_and_overrides,
                      "YAML file and key.path=value overrides (default: BERT-base with VGA)");
  command->add_option("--batch", arguments->batch, "Sequences a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--length", arguments->length, "Tokens a sequence")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", arguments->steps, "Steps or sums to time, after two to warm up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--precision", arguments->precision,
                   "fp32, bf16 or, for a step on a GPU, fp16 (default: the configuration's)")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command
      ->add_option("--variant", arguments->variant, "vanilla or vga (default: the configuration's)")
      ->check(CLI::IsMember({"vanilla", "vga"}));
  command->add_flag("--causal", arguments->causal, "attention: with the causal mask");
  command->add_option("--device", arguments->device, "all-reduce: cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  // Below 2^20 MiB: no machine has more, and it is a number of bytes.
  command->add_option("--mebibytes", arguments->mebibytes, "all-reduce: sizes, as 1,16,0.5")
      ->delimiter(',')
      ->check(CLI::Range(1e-5, 1048576.0))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object a line");
  command->footer("Example: sluice bench step configs/bert_small/vga.yaml --precision bf16 --json");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunBench(*arguments, communicator);
    };
  });
}

}  // namespace sluice
