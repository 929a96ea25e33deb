// GFLOP/s of the linear products at the shapes of BERT-base: 2048 rows (16 sequences of 128), and
// the vocabulary projection of 320 masked rows. Each product runs as the model runs it: weights
// packed before, bias added, gradients accumulated.
//
//   OMP_NUM_THREADS=2 build/release/bin/linear_benchmark --benchmark_filter=bf16
#include <cstdint>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "core/bf16.h"
#include "core/check.h"
#include "kernels/api/linear.h"

namespace sluice {
namespace {

struct Shape {
  int64_t N, K, M;
};
constexpr Shape kShapes[] = {{2048, 768, 2304}, {2048, 768, 768},  {2048, 768, 3072},
                             {2048, 3072, 768}, {320, 768, 30522}, {2048, 768, 12}};

template <typename T>
std::vector<T> Values(int64_t count) {
  std::vector<T> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = T(static_cast<float>(i * 7919 % 1000) - 500.0f);
  return values;
}

// The operands of one layer.
template <typename T>
struct Layer {
  explicit Layer(const Shape& shape)
      : x(Values<T>(shape.N * shape.K)),
        y(Values<T>(shape.N * shape.M)),
        weight(Values<T>(shape.K * shape.M)),
        bias(Values<T>(shape.M)),
        dweight(shape.K * shape.M),
        dbias(shape.M) {}
  std::vector<T> x, y, weight, bias;
  std::vector<float> dweight, dbias;
};

// Room for a packed weight: of the size asked for, or null.
class PackedMemory {
 public:
  explicit PackedMemory(int64_t bytes) : bytes_(bytes), memory_(bytes + 64) {}
  void* get() {
    if (bytes_ == 0) return nullptr;
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    return memory_.data() + (64 - address % 64) % 64;
  }

 private:
  int64_t bytes_;
  std::vector<char> memory_;
};

void CountFlops(benchmark::State& state, const Shape& shape) {
  const double flops = 2.0 * static_cast<double>(shape.N * shape.K * shape.M);
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// The first call, which makes the primitives and packs the weight, is not timed.
template <typename F>
void TimeLoop(benchmark::State& state, const F& run) {
  CHECK_OK(run());
  for (auto _ : state) CHECK_OK(run());
}

template <typename T>
void Forward(benchmark::State& state, Shape shape, bool pack) {
  Layer<T> layer(shape);
  cpu::LinearCache cache;
  PackedMemory memory(pack ? cpu::PackedForwardBytes<T>(cache, 1 << 20, shape.K, shape.M) : 0);
  PackedWeight packed = {.forward = memory.get()};
  const auto run = [&] {
    return cpu::LinearForward<T>(cache, {.x = layer.x.data(),
                                         .weight = layer.weight.data(),
                                         .bias = layer.bias.data(),
                                         .y = layer.y.data(),
                                         .N = shape.N,
                                         .K = shape.K,
                                         .M = shape.M,
                                         .x_stride = shape.K,
                                         .y_stride = shape.M,
                                         .packed = &packed});
  };
  TimeLoop(state, run);
  CountFlops(state, shape);
}

template <typename T>
void BackwardInput(benchmark::State& state, Shape shape, bool pack) {
  Layer<T> layer(shape);
  cpu::LinearCache cache;
  PackedMemory memory(pack ? cpu::PackedBackwardInputBytes<T>(cache, 1 << 20, shape.K, shape.M)
                           : 0);
  PackedWeight packed = {.backward_input = memory.get()};
  const auto run = [&] {
    return cpu::LinearBackwardInput<T>(cache, {.dy = layer.y.data(),
                                               .weight = layer.weight.data(),
                                               .dx = layer.x.data(),
                                               .accumulate = false,
                                               .N = shape.N,
                                               .K = shape.K,
                                               .M = shape.M,
                                               .dy_stride = shape.M,
                                               .dx_stride = shape.K,
                                               .packed = &packed});
  };
  TimeLoop(state, run);
  CountFlops(state, shape);
}

template <typename T>
void BackwardWeight(benchmark::State& state, Shape shape) {
  Layer<T> layer(shape);
  cpu::LinearCache cache;
  const auto run = [&] {
    return cpu::LinearBackwardWeight<T>(cache, {.x = layer.x.data(),
                                                .dy = layer.y.data(),
                                                .dweight = layer.dweight.data(),
                                                .dbias = layer.dbias.data(),
                                                .N = shape.N,
                                                .K = shape.K,
                                                .M = shape.M,
                                                .x_stride = shape.K,
                                                .dy_stride = shape.M});
  };
  TimeLoop(state, run);
  CountFlops(state, shape);
}

template <typename T>
void RegisterAll(const std::string& type) {
  for (const Shape& shape : kShapes) {
    const std::string suffix = "/" + type + "/" + std::to_string(shape.N) + "x" +
                               std::to_string(shape.K) + "x" + std::to_string(shape.M);
    const auto add = [&](const std::string& name, auto function) {
      benchmark::RegisterBenchmark((name + suffix).c_str(), function)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    };
    add("forward", [shape](benchmark::State& state) { Forward<T>(state, shape, true); });
    add("forward_plain", [shape](benchmark::State& state) { Forward<T>(state, shape, false); });
    add("input", [shape](benchmark::State& state) { BackwardInput<T>(state, shape, true); });
    add("input_plain", [shape](benchmark::State& state) { BackwardInput<T>(state, shape, false); });
    add("weight", [shape](benchmark::State& state) { BackwardWeight<T>(state, shape); });
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  sluice::RegisterAll<sluice::bf16>("bf16");
  sluice::RegisterAll<float>("fp32");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
