// GFLOP/s of the linear products at the shapes of BERT-base: 2048 rows (16 sequences of 128), and
// the vocabulary projection of 320 masked rows. Each product runs as the model runs it: weights
// packed before, bias added, gradients accumulated.
//
//   OMP_NUM_THREADS=2 build/release/bin/linear_benchmark --benchmark_filter=bf16
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
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
                             {2048, 3072, 768}, {320, 768, 30522}, {2048, 768, 12},
                             {704, 768, 50272}, {2048, 768, 64}};

// Operands lie in huge pages, as the arena's do.
template <typename T>
struct HugePageAllocator {
  using value_type = T;
  T* allocate(size_t count) {
    constexpr size_t kPage = size_t{2} << 20;
    const size_t bytes = (count * sizeof(T) + kPage - 1) / kPage * kPage;
    void* memory = std::aligned_alloc(kPage, bytes);
    CHECK(memory != nullptr);
    madvise(memory, bytes, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { std::free(memory); }
  bool operator==(const HugePageAllocator&) const = default;
};
template <typename T>
using Values = std::vector<T, HugePageAllocator<T>>;

template <typename T>
Values<T> SomeValues(int64_t count) {
  Values<T> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = T(static_cast<float>(i * 7919 % 1000) - 500.0f);
  return values;
}

// The operands of one layer.
template <typename T>
struct Layer {
  explicit Layer(const Shape& shape, int64_t packed_bytes = 0)
      : x(SomeValues<T>(shape.N * shape.K)),
        y(SomeValues<T>(shape.N * shape.M)),
        weight(SomeValues<T>(shape.K * shape.M)),
        bias(SomeValues<T>(shape.M)),
        dweight(shape.K * shape.M),
        dbias(shape.M),
        packed_memory(packed_bytes) {
    // Of one of the two products, whichever is timed.
    packed.forward = packed.backward_input = packed_memory.empty() ? nullptr : packed_memory.data();
  }
  Values<T> x, y, weight, bias;
  Values<float> dweight, dbias;
  Values<char> packed_memory;
  PackedWeight packed;
};

// Each call takes the next: with many, operands come from memory, as in a step.
template <typename T>
class Layers {
 public:
  Layers(const Shape& shape, int count, int64_t packed_bytes = 0) {
    for (int i = 0; i < count; ++i) all_.push_back(std::make_unique<Layer<T>>(shape, packed_bytes));
  }
  Layer<T>& Next() { return *all_[turn_++ % all_.size()]; }
  size_t count() const { return all_.size(); }

 private:
  std::vector<std::unique_ptr<Layer<T>>> all_;
  size_t turn_ = 0;
};

void CountFlops(benchmark::State& state, const Shape& shape) {
  const double flops = 2.0 * static_cast<double>(shape.N * shape.K * shape.M);
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// The first call with each layer, which makes the primitives and packs the weight, is not timed.
template <typename F>
void TimeLoop(benchmark::State& state, size_t layers, const F& run) {
  for (size_t i = 0; i < layers; ++i) CHECK_OK(run());
  for (auto _ : state) CHECK_OK(run());
}

struct Way {
  bool pack = true;
  int layers = 1;
};

template <typename T>
void Forward(benchmark::State& state, Shape shape, Way way) {
  cpu::LinearCache cache;
  Layers<T> layers(shape, way.layers,
                   way.pack ? cpu::PackedForwardBytes<T>(cache, 1 << 20, shape.K, shape.M) : 0);
  TimeLoop(state, layers.count(), [&] {
    Layer<T>& layer = layers.Next();
    return cpu::LinearForward<T>(cache, {.x = layer.x.data(),
                                         .weight = layer.weight.data(),
                                         .bias = layer.bias.data(),
                                         .y = layer.y.data(),
                                         .N = shape.N,
                                         .K = shape.K,
                                         .M = shape.M,
                                         .x_stride = shape.K,
                                         .y_stride = shape.M,
                                         .packed = &layer.packed});
  });
  CountFlops(state, shape);
}

template <typename T>
void BackwardInput(benchmark::State& state, Shape shape, Way way) {
  cpu::LinearCache cache;
  Layers<T> layers(
      shape, way.layers,
      way.pack ? cpu::PackedBackwardInputBytes<T>(cache, 1 << 20, shape.K, shape.M) : 0);
  TimeLoop(state, layers.count(), [&] {
    Layer<T>& layer = layers.Next();
    return cpu::LinearBackwardInput<T>(cache, {.dy = layer.y.data(),
                                               .weight = layer.weight.data(),
                                               .dx = layer.x.data(),
                                               .accumulate = false,
                                               .N = shape.N,
                                               .K = shape.K,
                                               .M = shape.M,
                                               .dy_stride = shape.M,
                                               .dx_stride = shape.K,
                                               .packed = &layer.packed});
  });
  CountFlops(state, shape);
}

template <typename T>
void BackwardWeight(benchmark::State& state, Shape shape, Way way) {
  Layers<T> layers(shape, way.layers);
  Values<char> workspace(cpu::LinearBackwardWeightWorkspaceBytes<T>(shape.K, shape.M));
  cpu::LinearCache cache;
  TimeLoop(state, layers.count(), [&] {
    Layer<T>& layer = layers.Next();
    return cpu::LinearBackwardWeight<T>(
        cache, {.x = layer.x.data(),
                .dy = layer.y.data(),
                .dweight = layer.dweight.data(),
                .dbias = layer.dbias.data(),
                .N = shape.N,
                .K = shape.K,
                .M = shape.M,
                .x_stride = shape.K,
                .dy_stride = shape.M,
                .workspace = workspace.empty() ? nullptr : workspace.data()});
  });
  CountFlops(state, shape);
}

// Packing the weight for each product anew, and the product of one row.
template <typename T>
void PackForward(benchmark::State& state, Shape shape) {
  shape.N = 1;
  cpu::LinearCache cache;
  Layers<T> layers(shape, 1, cpu::PackedForwardBytes<T>(cache, 1 << 20, shape.K, shape.M));
  TimeLoop(state, 1, [&] {
    Layer<T>& layer = layers.Next();
    layer.packed.forward_is_current = false;
    return cpu::LinearForward<T>(cache, {.x = layer.x.data(),
                                         .weight = layer.weight.data(),
                                         .bias = layer.bias.data(),
                                         .y = layer.y.data(),
                                         .N = 1,
                                         .K = shape.K,
                                         .M = shape.M,
                                         .x_stride = shape.K,
                                         .y_stride = shape.M,
                                         .packed = &layer.packed});
  });
}

template <typename T>
void PackBackwardInput(benchmark::State& state, Shape shape) {
  shape.N = 1;
  cpu::LinearCache cache;
  Layers<T> layers(shape, 1, cpu::PackedBackwardInputBytes<T>(cache, 1 << 20, shape.K, shape.M));
  TimeLoop(state, 1, [&] {
    Layer<T>& layer = layers.Next();
    layer.packed.backward_input_is_current = false;
    return cpu::LinearBackwardInput<T>(cache, {.dy = layer.y.data(),
                                               .weight = layer.weight.data(),
                                               .dx = layer.x.data(),
                                               .accumulate = false,
                                               .N = 1,
                                               .K = shape.K,
                                               .M = shape.M,
                                               .dy_stride = shape.M,
                                               .dx_stride = shape.K,
                                               .packed = &layer.packed});
  });
}

template <typename T>
void RegisterAll(const std::string& type) {
  for (const Shape& shape : kShapes) {
    const std::string suffix = "/" + type + "/" + std::to_string(shape.N) + "x" +
                               std::to_string(shape.K) + "x" + std::to_string(shape.M);
    const auto add = [&](const std::string& name, auto function) {
      benchmark::RegisterBenchmark((name + suffix).c_str(), function)
          ->Unit(benchmark::kMillisecond)
          ->MeasureProcessCPUTime()
          ->UseRealTime();
    };
    const Way hot, plain = {.pack = false}, cold = {.layers = shape.M > 10000 ? 2 : 12};
    for (const auto& named : {std::pair{"", hot}, {"_plain", plain}, {"_cold", cold}}) {
      const std::string name = named.first;
      const Way way = named.second;
      add("forward" + name,
          [shape, way](benchmark::State& state) { Forward<T>(state, shape, way); });
      add("input" + name,
          [shape, way](benchmark::State& state) { BackwardInput<T>(state, shape, way); });
    }
    add("forward_pack", [shape](benchmark::State& state) { PackForward<T>(state, shape); });
    add("input_pack", [shape](benchmark::State& state) { PackBackwardInput<T>(state, shape); });
    add("weight", [shape, hot](benchmark::State& state) { BackwardWeight<T>(state, shape, hot); });
    add("weight_cold",
        [shape, cold](benchmark::State& state) { BackwardWeight<T>(state, shape, cold); });
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
