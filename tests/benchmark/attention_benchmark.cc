// Speed of fused attention beside the processor's fp32 multiply-add rate, measured in the same
// process. GFLOP/s count the matrix products over visible pairs only (forward 2, backward 5
// products of 2·D per pair), not the softmax, the dropout or the gate, and are per second of
// processor time, so they are rates of one core however many work. The gate's own kernel is part of
// the gated variants' time.
//
//   OMP_NUM_THREADS=1 attention_benchmark --benchmark_repetitions=5
//       --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "core/check.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "kernels/api/attention.h"
#include "kernels/api/attention_gate.h"

// Independent chains of vector multiply-adds, all in registers.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmark/attention_benchmark.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Returns the flops done; starts from sink's ten numbers and writes the sum there, so that nothing
// is optimized away.
double MultiplyAddChains(int64_t rounds, float* sink) {
  const hn::CappedTag<float, 16> df;
  // Different starts, or the compiler would see that one chain is enough.
  auto a = hn::Set(df, sink[0]), b = hn::Set(df, sink[1]), c = hn::Set(df, sink[2]),
       d = hn::Set(df, sink[3]), e = hn::Set(df, sink[4]), f = hn::Set(df, sink[5]),
       g = hn::Set(df, sink[6]), h = hn::Set(df, sink[7]), i = hn::Set(df, sink[8]),
       j = hn::Set(df, sink[9]);
  const auto x = hn::Set(df, 0.999f), y = hn::Set(df, 0.001f);
  for (int64_t round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, x, y);
    b = hn::MulAdd(b, x, y);
    c = hn::MulAdd(c, x, y);
    d = hn::MulAdd(d, x, y);
    e = hn::MulAdd(e, x, y);
    f = hn::MulAdd(f, x, y);
    g = hn::MulAdd(g, x, y);
    h = hn::MulAdd(h, x, y);
    i = hn::MulAdd(i, x, y);
    j = hn::MulAdd(j, x, y);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, d)),
                           hn::Add(hn::Add(hn::Add(e, f), hn::Add(g, h)), hn::Add(i, j)));
  *sink = hn::GetLane(hn::SumOfLanes(df, sum));
  return static_cast<double>(rounds) * 10 * 2 * static_cast<double>(hn::Lanes(df));
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice {
HWY_EXPORT(MultiplyAddChains);
namespace {

void PeakFp32(benchmark::State& state) {
  double flops = 0;
  for (auto _ : state) {
    std::vector<double> done(ComputeThreads(), 0.0);
    std::vector<float> sinks(16 * ComputeThreads());
    for (size_t i = 0; i < sinks.size(); ++i) sinks[i] = static_cast<float>(i);
    ParallelForWorkers(ComputeThreads(), 1, [&](int worker, int64_t, int64_t) {
      done[worker] = HWY_DYNAMIC_DISPATCH(MultiplyAddChains)(1000000, &sinks[16 * worker]);
    });
    for (const double part : done) flops += part;
    benchmark::DoNotOptimize(sinks.data());
  }
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsRate);
}

struct Shape {
  int64_t B, T, H, D;
  bool causal;
};
constexpr Shape kBert = {16, 128, 12, 64, false};
constexpr Shape kOpt = {4, 512, 12, 64, true};

// vanilla; the gate's site with its own kernel (value source), as VGA runs it; and attention alone
// with a gate per channel at the query, a clipped softmax, a sink's logit, a sink token, no
// softmax.
enum Variant { kVanilla, kGated, kGatedKey, kChannel, kClipped, kSinkLogit, kSinkToken, kRelu };
bool HasHeadGate(Variant variant) { return variant == kGated || variant == kGatedKey; }

struct FreeAligned {
  void operator()(void* memory) const { ::operator delete[](memory, std::align_val_t(64)); }
};
template <typename V>
struct AlignedArray {
  explicit AlignedArray(int64_t count)
      : memory(static_cast<V*>(::operator new[](count * sizeof(V), std::align_val_t(64)))) {}
  V* data() const { return memory.get(); }
  std::unique_ptr<V[], FreeAligned> memory;
};

template <typename T>
AlignedArray<T> Random(int64_t count, uint32_t seed) {
  AlignedArray<T> array(count);
  for (int64_t i = 0; i < count; ++i) {
    const auto words = Philox({seed, 0}, PhiloxCounter(i, 0));
    array.data()[i] = T(static_cast<float>(2 * UniformFromWord(words[0]) - 1));
  }
  return array;
}

template <typename T>
struct Problem {
  Shape s;
  Variant variant;
  int64_t tokens, width;
  AlignedArray<T> qkv, dqkv, out, dout, weight, sink;
  AlignedArray<float> gate, dgate, dweight, dsink, log_sum_exp;
  AlignedArray<char> workspace, gate_workspace;
  std::vector<int64_t> sample_index;
  AttentionForwardArgs<T> forward;
  AttentionBackwardArgs<T> backward;

  Problem(const Shape& shape, Variant v, bool drops)
      : s(shape),
        variant(v),
        tokens(s.B * s.T),
        width(s.H * s.D),
        qkv(Random<T>(tokens * 3 * width, 1)),
        dqkv(tokens * 3 * width),
        out(tokens * width),
        dout(Random<T>(tokens * width, 2)),
        weight(Random<T>(s.H * width, 3)),
        sink(Random<T>(width, 4)),
        gate(Random<float>(tokens * (v == kChannel ? width : s.H), 5)),
        dgate(tokens * (v == kChannel ? width : s.H)),
        dweight(s.H * width),
        dsink(Random<float>(width, 6)),
        log_sum_exp(tokens * s.H),
        workspace(std::max(AttentionForwardWorkspaceBytes(s.T, s.H, s.D, ComputeThreads()),
                           AttentionBackwardWorkspaceBytes(s.T, s.H, s.D, ComputeThreads(), s.B))),
        gate_workspace(AttentionGateBackwardWorkspaceBytes(tokens, width, s.H)) {
    for (int64_t b = 0; b < s.B; ++b) sample_index.push_back(b);
    Dropout dropout;
    if (drops) dropout = {.probability = 0.1f, .key = {1, 2}, .sample_index = sample_index.data()};
    const AttentionMask mask = {.causal = s.causal};
    const float scale = 1 / std::sqrt(static_cast<float>(s.D));
    forward = {.q = qkv.data(),
               .k = qkv.data() + width,
               .v = qkv.data() + 2 * width,
               .gate = nullptr,
               .out = out.data(),
               .log_sum_exp = log_sum_exp.data(),
               .B = s.B,
               .T_ = s.T,
               .H = s.H,
               .D = s.D,
               .qkv_stride = 3 * width,
               .scale = scale,
               .mask = mask,
               .dropout = dropout,
               .workspace = workspace.data()};
    backward = {.q = qkv.data(),
                .k = qkv.data() + width,
                .v = qkv.data() + 2 * width,
                .gate = nullptr,
                .out = out.data(),
                .log_sum_exp = log_sum_exp.data(),
                .dout = dout.data(),
                .dq = dqkv.data(),
                .dk = dqkv.data() + width,
                .dv = dqkv.data() + 2 * width,
                .dgate = nullptr,
                .B = s.B,
                .T_ = s.T,
                .H = s.H,
                .D = s.D,
                .qkv_stride = 3 * width,
                .scale = scale,
                .mask = mask,
                .dropout = dropout,
                .workspace = workspace.data()};
    std::fill_n(dweight.data(), s.H * width, 0.0f);
    Choose(forward);
    Choose(backward);
    if (forward.gate != nullptr) backward.dgate = dgate.data();
    if (v == kSinkLogit) backward.dsink_logit = dsink.data();
    if (v == kSinkToken) backward.dsink_key = backward.dsink_value = dsink.data();
    Forward();
  }

  // What the variant adds to the arguments of either direction.
  template <typename Args>
  void Choose(Args& args) {
    if (HasHeadGate(variant) || variant == kChannel) args.gate = gate.data();
    if (args.gate != nullptr) {
      args.gate_site = variant == kGatedKey ? GateSite::kKey : GateSite::kQuery;
      args.gate_per_channel = variant == kChannel;
    }
    if (variant == kRelu) args.weights = AttentionWeights::kRelu;
    if (variant == kClipped) args.clip = {.gamma = -0.025f, .zeta = 1};
    if (variant == kSinkLogit) {
      args.sink = SoftmaxSink::kLogit;
      args.sink_logit = sink.data();
    }
    if (variant == kSinkToken) args.sink_key = args.sink_value = sink.data();
  }

  void Forward() {
    if (HasHeadGate(variant)) GateForward();
    CHECK_OK(cpu::AttentionForward<T>(forward));
  }
  void Backward() {
    CHECK_OK(cpu::AttentionBackward<T>(backward));
    if (HasHeadGate(variant)) GateBackward();
  }
  void GateForward() {
    CHECK_OK(cpu::AttentionGateForward<T>({.source = forward.v,
                                           .weight = weight.data(),
                                           .bias = nullptr,
                                           .gate = gate.data(),
                                           .N = tokens,
                                           .C = width,
                                           .H = s.H,
                                           .source_stride = 3 * width}));
  }
  void GateBackward() {
    CHECK_OK(cpu::AttentionGateBackward<T>({.source = forward.v,
                                            .weight = weight.data(),
                                            .gate = gate.data(),
                                            .dgate = dgate.data(),
                                            .dsource = backward.dv,
                                            .dweight = dweight.data(),
                                            .dbias = nullptr,
                                            .workspace = gate_workspace.data(),
                                            .N = tokens,
                                            .C = width,
                                            .H = s.H,
                                            .source_stride = 3 * width,
                                            .dsource_stride = 3 * width}));
  }
  double PairFlops() const {
    const double pairs = s.causal ? 0.5 * s.T * (s.T + 1) : 1.0 * s.T * s.T;
    return pairs * 2 * s.D * s.B * s.H;
  }
};

template <typename T>
void Forward(benchmark::State& state, Shape shape, Variant variant, bool drops) {
  Problem<T> problem(shape, variant, drops);
  for (auto _ : state) problem.Forward();
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * problem.PairFlops(), benchmark::Counter::kIsIterationInvariantRate);
}

template <typename T>
void Backward(benchmark::State& state, Shape shape, Variant variant, bool drops) {
  Problem<T> problem(shape, variant, drops);
  for (auto _ : state) problem.Backward();
  state.counters["GFLOP/s"] =
      benchmark::Counter(5e-9 * problem.PairFlops(), benchmark::Counter::kIsIterationInvariantRate);
}

// The gate's own kernels, alone.
template <typename T>
void GateForward(benchmark::State& state, Shape shape) {
  Problem<T> problem(shape, kGated, false);
  for (auto _ : state) problem.GateForward();
}
template <typename T>
void GateBackward(benchmark::State& state, Shape shape) {
  Problem<T> problem(shape, kGated, false);
  problem.Backward();
  for (auto _ : state) problem.GateBackward();
}

template <typename T>
void Register(const std::string& type) {
  const std::pair<const char*, Shape> shapes[] = {{"bert128", kBert}, {"opt512", kOpt}};
  const std::pair<const char*, Variant> variants[] = {
      {"vanilla", kVanilla},      {"vga", kGated},       {"key_gate", kGatedKey},
      {"channel", kChannel},      {"clipped", kClipped}, {"sink_logit", kSinkLogit},
      {"sink_token", kSinkToken}, {"relu", kRelu}};
  for (const auto& [shape_name, shape] : shapes) {
    const std::string gate_name = type + "/" + shape_name;
    benchmark::RegisterBenchmark(("gate_forward/" + gate_name).c_str(), GateForward<T>, shape)
        ->MeasureProcessCPUTime();
    benchmark::RegisterBenchmark(("gate_backward/" + gate_name).c_str(), GateBackward<T>, shape)
        ->MeasureProcessCPUTime();
    for (const auto& [variant_name, variant] : variants) {
      for (const bool drops : {false, true}) {
        const std::string name =
            type + "/" + shape_name + "/" + variant_name + (drops ? "/dropout" : "");
        benchmark::RegisterBenchmark(("forward/" + name).c_str(), Forward<T>, shape, variant, drops)
            ->MeasureProcessCPUTime();
        benchmark::RegisterBenchmark(("backward/" + name).c_str(), Backward<T>, shape, variant,
                                     drops)
            ->MeasureProcessCPUTime();
      }
    }
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("peak_fp32", sluice::PeakFp32)->MeasureProcessCPUTime();
  sluice::Register<float>("float");
  sluice::Register<sluice::bf16>("bf16");
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
#endif  // HWY_ONCE
