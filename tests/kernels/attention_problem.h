// One attention problem for tests: inputs of a shape, run by the CPU kernels and by the reference,
// and tolerances that follow from the shape and the inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/parallel.h"
#include "gtest/gtest.h"
#include "kernels/api/attention.h"
#include "support/compare.h"

namespace sluice::testing {

struct AttentionProblem {
  int64_t B = 1, T = 1, H = 1, D = 8;
  GateSite site = GateSite::kNone;
  bool causal = false;
  std::vector<int32_t> lengths = {};    // empty: none
  std::vector<int32_t> documents = {};  // empty: none
  float dropout = 0;
  int64_t stride = 0;             // of q, k, v; 0: 3·H·D, packed
  int64_t misalignment = 0;       // elements that every tensor starts away from a 64-byte boundary
  std::vector<double> gate = {};  // empty: random in (0, 1)

  int64_t qkv_stride() const { return stride == 0 ? 3 * H * D : stride; }
  int64_t tokens() const { return B * T; }
  std::string Name() const {
    return absl::StrCat("B", B, " T", T, " H", H, " D", D, " site", static_cast<int>(site),
                        causal ? " causal" : "", lengths.empty() ? "" : " lengths",
                        documents.empty() ? "" : " documents", dropout > 0 ? " dropout" : "");
  }
};

// Everything that forward and backward write; rows of dq, dk, dv are stored without gaps.
template <typename T>
struct AttentionResults {
  std::vector<T> out, dq, dk, dv;                  // (B, T, H, D)
  std::vector<Accumulator<T>> log_sum_exp, dgate;  // (B, H, T), (B, T, H)
};

// Inputs as doubles that storage type T holds exactly, so that the reference sees what T's kernel
// sees.
struct AttentionInputs {
  std::vector<double> q, k, v, dout;  // (B, T, H, D)
  std::vector<double> gate;           // (B, T, H), exact in float
  std::vector<int64_t> sample_index;  // (B)
  Dropout dropout;
  double scale;  // exact in float

  template <typename T>
  static AttentionInputs Make(const AttentionProblem& problem, uint64_t seed) {
    AttentionInputs inputs;
    const int64_t count = problem.tokens() * problem.H * problem.D;
    inputs.q = Widen(Cast<T>(RandomValues(count, seed, -2, 2)));
    inputs.k = Widen(Cast<T>(RandomValues(count, seed + 1, -2, 2)));
    inputs.v = Widen(Cast<T>(RandomValues(count, seed + 2)));
    inputs.dout = Widen(Cast<T>(RandomValues(count, seed + 3)));
    inputs.gate = problem.gate;
    if (inputs.gate.empty()) {
      inputs.gate =
          Widen(Cast<float>(RandomValues(problem.tokens() * problem.H, seed + 4, 0.02, 1)));
    }
    for (int64_t b = 0; b < problem.B; ++b) inputs.sample_index.push_back(1000 + 7 * b);
    inputs.dropout = {.probability = problem.dropout,
                      .key = MakePhiloxKey(seed, RandomPurpose::kDropout, 1)};
    inputs.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(problem.D)));
    return inputs;
  }
};

// Runs the CPU kernels (float, bf16) or the reference (double) on buffers that are poisoned and
// guarded, and fails the test when a guard was hit or a gap between rows written.
template <typename T>
class AttentionRun {
 public:
  AttentionRun(const AttentionProblem& problem, const AttentionInputs& inputs)
      : problem_(problem),
        inputs_(inputs),
        q_(Spread(inputs.q)),
        k_(Spread(inputs.k)),
        v_(Spread(inputs.v)),
        dq_(Spread({})),
        dk_(Spread({})),
        dv_(Spread({})),
        out_(inputs.q.size(), Offset<T>()),
        dout_(inputs.q.size(), Offset<T>()),
        gate_(inputs.gate.size(), Offset<Accumulator<T>>()),
        dgate_(inputs.gate.size(), Offset<Accumulator<T>>()),
        log_sum_exp_(inputs.gate.size(), Offset<Accumulator<T>>()) {
    for (size_t i = 0; i < inputs.dout.size(); ++i) dout_[i] = As<T>(inputs.dout[i]);
    for (size_t i = 0; i < inputs.gate.size(); ++i) gate_[i] = As<Accumulator<T>>(inputs.gate[i]);
  }

  AttentionResults<T> Run() {
    Forward();
    Backward();
    for (const auto* buffer : {&q_, &k_, &v_, &dq_, &dk_, &dv_, &out_, &dout_}) {
      buffer->ExpectCanariesIntact();
    }
    for (const auto* buffer : {&gate_, &dgate_, &log_sum_exp_}) buffer->ExpectCanariesIntact();
    AttentionResults<T> results = {.out = Values(out_),
                                   .dq = Gather(dq_),
                                   .dk = Gather(dk_),
                                   .dv = Gather(dv_),
                                   .log_sum_exp = Values(log_sum_exp_),
                                   .dgate = {}};
    if (problem_.site != GateSite::kNone) results.dgate = Values(dgate_);
    return results;
  }

 private:
  template <typename V>
  static V As(double value) {
    if constexpr (std::is_same_v<V, double>)
      return value;
    else
      return V(static_cast<float>(value));
  }
  template <typename V>
  int64_t Offset() const {
    return problem_.misalignment * static_cast<int64_t>(sizeof(V));
  }
  template <typename V>
  static std::vector<V> Values(const PoisonedBuffer<V>& buffer) {
    return {buffer.values().begin(), buffer.values().end()};
  }
  AttentionMask Mask() const {
    return {.causal = problem_.causal,
            .lengths = problem_.lengths.empty() ? nullptr : problem_.lengths.data(),
            .documents = problem_.documents.empty() ? nullptr : problem_.documents.data()};
  }
  Dropout DropoutOf() const {
    Dropout dropout = inputs_.dropout;
    dropout.sample_index = inputs_.sample_index.data();
    return dropout;
  }

  // (B, T, H·D) at the problem's stride, the gaps poisoned.
  PoisonedBuffer<T> Spread(const std::vector<double>& values) const {
    const int64_t width = problem_.H * problem_.D;
    PoisonedBuffer<T> buffer((problem_.tokens() - 1) * problem_.qkv_stride() + width, Offset<T>());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<int64_t>(i) / width, column = static_cast<int64_t>(i) % width;
      buffer[row * problem_.qkv_stride() + column] = As<T>(values[i]);
    }
    return buffer;
  }
  std::vector<T> Gather(const PoisonedBuffer<T>& buffer) const {
    const int64_t width = problem_.H * problem_.D;
    std::vector<T> values;
    for (int64_t i = 0; i < buffer.size(); ++i) {
      if (i % problem_.qkv_stride() < width) {
        values.push_back(buffer[i]);
      } else {
        EXPECT_TRUE(std::isnan(static_cast<double>(buffer[i]))) << "wrote between rows, at " << i;
      }
    }
    return values;
  }

  void Forward() {
    const int64_t bytes =
        AttentionForwardWorkspaceBytes(problem_.T, problem_.H, problem_.D, ComputeThreads());
    PoisonedBuffer<float> workspace(bytes / static_cast<int64_t>(sizeof(float)));
    const AttentionForwardArgs<T> args = {.q = q_.data(),
                                          .k = k_.data(),
                                          .v = v_.data(),
                                          .gate = GatePointer(),
                                          .out = out_.data(),
                                          .log_sum_exp = log_sum_exp_.data(),
                                          .B = problem_.B,
                                          .T_ = problem_.T,
                                          .H = problem_.H,
                                          .D = problem_.D,
                                          .qkv_stride = problem_.qkv_stride(),
                                          .scale = static_cast<Accumulator<T>>(inputs_.scale),
                                          .gate_site = problem_.site,
                                          .mask = Mask(),
                                          .dropout = DropoutOf(),
                                          .workspace = workspace.data()};
    if constexpr (std::is_same_v<T, double>) {
      reference::AttentionForward(args);
    } else {
      ASSERT_TRUE(cpu::AttentionForward(args).ok());
    }
    workspace.ExpectCanariesIntact();
  }

  void Backward() {
    const int64_t bytes =
        AttentionBackwardWorkspaceBytes(problem_.T, problem_.H, problem_.D, ComputeThreads());
    PoisonedBuffer<float> workspace(bytes / static_cast<int64_t>(sizeof(float)));
    const AttentionBackwardArgs<T> args = {
        .q = q_.data(),
        .k = k_.data(),
        .v = v_.data(),
        .gate = GatePointer(),
        .log_sum_exp = log_sum_exp_.data(),
        .dout = dout_.data(),
        .dq = dq_.data(),
        .dk = dk_.data(),
        .dv = dv_.data(),
        .dgate = problem_.site == GateSite::kNone ? nullptr : dgate_.data(),
        .B = problem_.B,
        .T_ = problem_.T,
        .H = problem_.H,
        .D = problem_.D,
        .qkv_stride = problem_.qkv_stride(),
        .scale = static_cast<Accumulator<T>>(inputs_.scale),
        .gate_site = problem_.site,
        .mask = Mask(),
        .dropout = DropoutOf(),
        .workspace = workspace.data()};
    if constexpr (std::is_same_v<T, double>) {
      reference::AttentionBackward(args);
    } else {
      ASSERT_TRUE(cpu::AttentionBackward(args).ok());
    }
    workspace.ExpectCanariesIntact();
  }
  const Accumulator<T>* GatePointer() const {
    return problem_.site == GateSite::kNone ? nullptr : gate_.data();
  }

  AttentionProblem problem_;
  AttentionInputs inputs_;
  PoisonedBuffer<T> q_, k_, v_, dq_, dk_, dv_, out_, dout_;
  PoisonedBuffer<Accumulator<T>> gate_, dgate_, log_sum_exp_;
};

template <typename T>
AttentionResults<T> RunAttention(const AttentionProblem& problem, const AttentionInputs& inputs) {
  return AttentionRun<T>(problem, inputs).Run();
}

}  // namespace sluice::testing
