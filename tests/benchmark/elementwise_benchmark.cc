// Memory throughput of the kernels that only stream, at the sizes of a BERT-base step, beside a
// triad measured in the same process. GB/s count each input read once and each output written once
// (not the read that a write to uncached memory costs), so a kernel that is bound by memory comes
// near the triad, and one whose data stay in a cache may pass it. Run with interleaving: on a busy
// machine only ratios of the best of several mean something.
//
//   elementwise_benchmark --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "core/bf16.h"
#include "core/check.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "kernels/api/activation.h"
#include "kernels/api/adamw.h"
#include "kernels/api/cross_entropy.h"
#include "kernels/api/dropout.h"
#include "kernels/api/elementwise.h"
#include "kernels/api/embedding.h"
#include "kernels/api/layer_norm.h"
#include "kernels/api/sgd.h"

namespace sluice {
namespace {

constexpr int64_t kRows = 2048, kTokensPerSample = 128;
constexpr int64_t kHidden = 768, kInner = 3072, kVocabulary = 30522, kTargets = 320;
constexpr int64_t kParameters = 100'000'000;

// Memory that is touched once, so that no page is first mapped while the clock runs.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count, float value = 0.5f)
      : memory_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64)),
                &std::free) {
    CHECK(memory_ != nullptr);
    for (int64_t i = 0; i < count; ++i) memory_.get()[i] = T(value + 1e-3f * (i % 97));
  }
  T* data() const { return memory_.get(); }

 private:
  std::unique_ptr<T, void (*)(void*)> memory_;
};

Dropout MakeDropout(bool enabled) {
  static const std::vector<int64_t> samples(kRows / kTokensPerSample, 12345);
  return {.probability = enabled ? 0.1f : 0.0f,
          .key = MakePhiloxKey(1, RandomPurpose::kDropout, 1),
          .sample_index = samples.data(),
          .rows_per_sample = kTokensPerSample};
}

// Calls `run` until the benchmark has enough; `bytes` pass through memory in each call.
template <typename Run>
void Measure(benchmark::State& state, int64_t bytes, const Run& run) {
  run();
  for (auto unused : state) run();
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(bytes) * static_cast<double>(state.iterations()) * 1e-9,
      benchmark::Counter::kIsRate);
}

void Triad(benchmark::State& state) {
  constexpr int64_t kCount = int64_t{32} << 20;
  const Buffer<float> a(kCount), b(kCount), c(kCount);
  Measure(state, 3 * kCount * static_cast<int64_t>(sizeof(float)), [&] {
    ParallelFor(kCount, 4096, [&](int64_t begin, int64_t end) {
      float* out = a.data();
      for (int64_t i = begin; i < end; ++i) out[i] = b.data()[i] + 0.5f * c.data()[i];
    });
  });
}

template <typename T>
void DropoutRows(benchmark::State& state) {
  const int64_t count = kRows * kHidden;
  const Buffer<T> x(count), y(count);
  Measure(state, 2 * count * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::DropoutForward<T>({x.data(), y.data(), kRows, kHidden, MakeDropout(true)}));
  });
}

template <typename T>
void LayerNormForward(benchmark::State& state) {
  const int64_t count = kRows * kHidden;
  const Buffer<T> x(count), residual(count), weight(kHidden), bias(kHidden), sum(count), y(count);
  const Buffer<float> mean(kRows), rstd(kRows);
  Measure(state, 4 * count * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::LayerNormForward<T>({.x = x.data(),
                                       .residual = residual.data(),
                                       .weight = weight.data(),
                                       .bias = bias.data(),
                                       .sum = sum.data(),
                                       .y = y.data(),
                                       .mean = mean.data(),
                                       .rstd = rstd.data(),
                                       .N = kRows,
                                       .C = kHidden,
                                       .eps = 1e-12f,
                                       .dropout = MakeDropout(state.range(0) != 0)}));
  });
}

template <typename T>
void LayerNormBackward(benchmark::State& state) {
  const bool dropout = state.range(0) != 0;
  const int64_t count = kRows * kHidden;
  const Buffer<T> dy(count), sum(count), weight(kHidden), dsum(count), dx(count);
  const Buffer<float> mean(kRows), rstd(kRows), dweight(kHidden), dbias(kHidden);
  const Buffer<char> workspace(LayerNormBackwardWorkspaceBytes(kRows, kHidden));
  Measure(state, (dropout ? 4 : 3) * count * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::LayerNormBackward<T>({.dy = dy.data(),
                                        .dsum_in = nullptr,
                                        .sum = sum.data(),
                                        .weight = weight.data(),
                                        .mean = mean.data(),
                                        .rstd = rstd.data(),
                                        .dsum = dsum.data(),
                                        .dx = dropout ? dx.data() : nullptr,
                                        .dweight = dweight.data(),
                                        .dbias = dbias.data(),
                                        .workspace = workspace.data(),
                                        .N = kRows,
                                        .C = kHidden,
                                        .dropout = MakeDropout(dropout)}));
  });
}

template <typename T>
void ActivationForward(benchmark::State& state) {
  const int64_t count = kRows * kInner;
  const Buffer<T> x(count), y(count);
  const auto activation = static_cast<Activation>(state.range(0));
  Measure(state, 2 * count * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::ActivationForward<T>({x.data(), y.data(), count, activation}));
  });
}

template <typename T>
void ActivationBackward(benchmark::State& state) {
  const int64_t count = kRows * kInner;
  const Buffer<T> x(count), dy(count), dx(count);
  const auto activation = static_cast<Activation>(state.range(0));
  Measure(state, 3 * count * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::ActivationBackward<T>({x.data(), dy.data(), dx.data(), count, activation}));
  });
}

// Tokens as uneven as text: a tenth of them the same.
std::vector<int32_t> Tokens() {
  std::vector<int32_t> tokens(kRows);
  for (int64_t n = 0; n < kRows; ++n) {
    tokens[n] = static_cast<int32_t>(n % 10 == 0 ? 103 : n * n * 7919 % kVocabulary);
  }
  return tokens;
}

template <typename T>
void EmbeddingForward(benchmark::State& state) {
  const Buffer<T> tokens_table(kVocabulary * kHidden), positions(kTokensPerSample * kHidden),
      segments(2 * kHidden), y(kRows * kHidden);
  const auto tokens = Tokens();
  Measure(state, 2 * kRows * kHidden * static_cast<int64_t>(sizeof(T)), [&] {
    CHECK_OK(cpu::EmbeddingForward<T>({.tokens = tokens.data(),
                                       .segments = nullptr,
                                       .token_table = tokens_table.data(),
                                       .projected = nullptr,
                                       .position_table = positions.data(),
                                       .segment_table = segments.data(),
                                       .register_table = nullptr,
                                       .y = y.data(),
                                       .N = kRows,
                                       .T_ = kTokensPerSample,
                                       .C = kHidden,
                                       .R = 0,
                                       .position_offset = 0}));
  });
}

// Bytes: dy once, and the token table's rows read and written.
template <typename T>
void EmbeddingBackward(benchmark::State& state) {
  const Buffer<T> dy(kRows * kHidden);
  const Buffer<float> dtokens(kVocabulary * kHidden), dpositions(kTokensPerSample * kHidden),
      dsegments(2 * kHidden);
  const auto tokens = Tokens();
  const Buffer<char> workspace(EmbeddingBackwardWorkspaceBytes(kRows, kVocabulary));
  Measure(state, kRows * kHidden * static_cast<int64_t>(sizeof(T) + 2 * sizeof(float)), [&] {
    CHECK_OK(cpu::EmbeddingBackward<T>({.tokens = tokens.data(),
                                        .segments = nullptr,
                                        .dy = dy.data(),
                                        .dtoken_table = dtokens.data(),
                                        .dprojected = nullptr,
                                        .dposition_table = dpositions.data(),
                                        .dsegment_table = dsegments.data(),
                                        .dregister_table = nullptr,
                                        .workspace = workspace.data(),
                                        .N = kRows,
                                        .T_ = kTokensPerSample,
                                        .C = kHidden,
                                        .V = kVocabulary,
                                        .S = 2,
                                        .R = 0,
                                        .position_offset = 0}));
  });
}

template <typename T>
void CrossEntropy(benchmark::State& state) {
  const int64_t count = kTargets * kVocabulary;
  const Buffer<float> logits(count);
  const Buffer<T> dlogits(count);
  const std::vector<int32_t> targets(kTargets, 77);
  Measure(state, count * static_cast<int64_t>(sizeof(float) + sizeof(T)), [&] {
    double loss = 0;
    int64_t target_count = 0, correct_count = 0;
    CHECK_OK(cpu::CrossEntropy<T>({.logits = logits.data(),
                                   .targets = targets.data(),
                                   .dlogits = dlogits.data(),
                                   .loss_sum = &loss,
                                   .target_count = &target_count,
                                   .correct_count = &correct_count,
                                   .row_loss = nullptr,
                                   .gradient_scale = 1,
                                   .M = kTargets,
                                   .V = kVocabulary}));
    benchmark::DoNotOptimize(loss);
  });
}

template <typename T>
void AdamW(benchmark::State& state) {
  constexpr bool kCopy = sizeof(T) == 2;
  const Buffer<float> master(kParameters), gradient(kParameters), m(kParameters), v(kParameters);
  const Buffer<T> working(kCopy ? kParameters : 0);
  const UpdateSegment segment = {0, kParameters, 0.01f};
  int64_t t = 0;
  Measure(state, kParameters * (8 * 4 + (kCopy ? 2 : 0)), [&] {
    CHECK_OK(cpu::AdamW<T>({.master = master.data(),
                            .gradient = gradient.data(),
                            .m = m.data(),
                            .v = v.data(),
                            .working = kCopy ? working.data() : nullptr,
                            .segments = &segment,
                            .segment_count = 1,
                            .gradient_scale = 1e-3f,
                            .learning_rate = 1e-4f,
                            .beta1 = 0.9f,
                            .beta2 = 0.999f,
                            .eps = 1e-6f,
                            .t = ++t}));
  });
}

template <typename T>
void Sgd(benchmark::State& state) {
  constexpr bool kCopy = sizeof(T) == 2;
  const Buffer<float> master(kParameters), gradient(kParameters), momentum(kParameters);
  const Buffer<T> working(kCopy ? kParameters : 0);
  const UpdateSegment segment = {0, kParameters, 0.01f};
  Measure(state, kParameters * (6 * 4 + (kCopy ? 2 : 0)), [&] {
    CHECK_OK(cpu::Sgd<T>({.master = master.data(),
                          .gradient = gradient.data(),
                          .momentum_buffer = momentum.data(),
                          .working = kCopy ? working.data() : nullptr,
                          .segments = &segment,
                          .segment_count = 1,
                          .gradient_scale = 1e-3f,
                          .learning_rate = 0.03f,
                          .momentum = 0.9f}));
  });
}

template <typename T>
void SumOfSquares(benchmark::State& state) {
  const Buffer<T> x(kParameters);
  Measure(state, kParameters * static_cast<int64_t>(sizeof(T)),
          [&] { benchmark::DoNotOptimize(cpu::SumOfSquares<T>(x.data(), kParameters)); });
}

void ConvertToBf16(benchmark::State& state) {
  const Buffer<float> x(kParameters);
  const Buffer<bf16> y(kParameters);
  Measure(state, kParameters * 6, [&] { cpu::Convert(x.data(), y.data(), kParameters); });
}

#define SLUICE_BENCHMARK(name) BENCHMARK(name)->UseRealTime()->Unit(benchmark::kMillisecond)
#define SLUICE_BENCHMARK_BOTH(name) \
  SLUICE_BENCHMARK(name<float>);    \
  SLUICE_BENCHMARK(name<bf16>)

SLUICE_BENCHMARK(Triad);
SLUICE_BENCHMARK_BOTH(DropoutRows);
SLUICE_BENCHMARK(LayerNormForward<float>)->ArgName("dropout")->Arg(0)->Arg(1);
SLUICE_BENCHMARK(LayerNormForward<bf16>)->ArgName("dropout")->Arg(0)->Arg(1);
SLUICE_BENCHMARK(LayerNormBackward<float>)->ArgName("dropout")->Arg(0)->Arg(1);
SLUICE_BENCHMARK(LayerNormBackward<bf16>)->ArgName("dropout")->Arg(0)->Arg(1);
SLUICE_BENCHMARK(ActivationForward<float>)->ArgName("activation")->DenseRange(0, 3);
SLUICE_BENCHMARK(ActivationForward<bf16>)->ArgName("activation")->DenseRange(0, 3);
SLUICE_BENCHMARK(ActivationBackward<float>)->ArgName("activation")->DenseRange(0, 3);
SLUICE_BENCHMARK(ActivationBackward<bf16>)->ArgName("activation")->DenseRange(0, 3);
SLUICE_BENCHMARK_BOTH(EmbeddingForward);
SLUICE_BENCHMARK_BOTH(EmbeddingBackward);
SLUICE_BENCHMARK_BOTH(CrossEntropy);
SLUICE_BENCHMARK_BOTH(AdamW);
SLUICE_BENCHMARK_BOTH(Sgd);
SLUICE_BENCHMARK_BOTH(SumOfSquares);
SLUICE_BENCHMARK(ConvertToBf16);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
