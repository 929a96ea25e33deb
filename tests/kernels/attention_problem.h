// One attention problem for tests: inputs of a shape, run by the backend's kernels and by the
// reference, and tolerances that follow from the shape and the inputs.
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
#include "support/backend.h"
#include "support/compare.h"

namespace sluice {
SLUICE_BACKEND_OP(AttentionForward, AttentionForwardArgs);
SLUICE_BACKEND_OP(AttentionBackward, AttentionBackwardArgs);
}  // namespace sluice

namespace sluice::testing {

struct AttentionProblem {
  int64_t B = 1, T = 1, H = 1, D = 8;
  GateSite site = GateSite::kNone;
  bool causal = false;
  std::vector<int32_t> lengths = {};    // empty: none
  std::vector<int32_t> documents = {};  // empty: none
  float dropout = 0;
  bool per_channel = false;  // gates: (B, T, H, D)
  AttentionWeights weights = AttentionWeights::kSoftmax;
  ClippedSoftmax clip = {};
  SoftmaxSink sink = SoftmaxSink::kNone;
  bool sink_token = false;
  int64_t registers = 0;
  int64_t stride = 0;             // of q, k, v; 0: 3·H·D, packed
  int64_t misalignment = 0;       // elements that every tensor starts away from a 64-byte boundary
  std::vector<double> gate = {};  // empty: random in (0, 1)

  int64_t qkv_stride() const { return stride == 0 ? 3 * H * D : stride; }
  int64_t tokens() const { return B * T; }
  int64_t gates() const { return tokens() * H * (per_channel ? D : 1); }
  int64_t sink_tokens() const { return sink_token ? 1 : 0; }
  std::string Name() const {
    return absl::StrCat(
        "B", B, " T", T, " H", H, " D", D, " site", static_cast<int>(site), causal ? " causal" : "",
        lengths.empty() ? "" : " lengths", documents.empty() ? "" : " documents",
        dropout > 0 ? " dropout" : "", per_channel ? " per channel" : "",
        weights == AttentionWeights::kRelu ? " relu" : "", clip.enabled() ? " clipped" : "",
        " sink", static_cast<int>(sink), sink_token ? " sink token" : "", " registers", registers);
  }
  // Whether query i of row b sees key number `key`; the sink token is number 0 where there is one.
  bool Sees(int64_t b, int64_t i, int64_t key) const {
    const int64_t length = lengths.empty() ? T : lengths[b], j = key - sink_tokens();
    if (i >= length || j >= length) return false;
    if (j < registers) return true;  // the sink token too: j is -1
    if (i < registers) return !causal && documents.empty();
    return (!causal || j <= i) &&
           (documents.empty() || documents[b * T + i] == documents[b * T + j]);
  }
};

// Everything that forward and backward write; rows of dq, dk, dv are stored without gaps.
template <typename T>
struct AttentionResults {
  std::vector<T> out, dq, dk, dv;                                   // (B, T, H, D)
  std::vector<Accumulator<T>> log_sum_exp, dgate;                   // (B, H, T), as the gate
  std::vector<Accumulator<T>> dsink_logit, dsink_key, dsink_value;  // (H), (H, D), (H, D)
};

// Inputs as doubles that storage type T holds exactly, so that the reference sees what T's kernel
// sees.
struct AttentionInputs {
  std::vector<double> q, k, v, dout;  // (B, T, H, D)
  std::vector<double> gate;           // (B, T, H) or (B, T, H, D), exact in float
  std::vector<double> sink_logit, sink_key, sink_value;     // (H), (H, D), (H, D)
  std::vector<double> dsink_logit, dsink_key, dsink_value;  // what the gradients are added to
  std::vector<int64_t> sample_index;                        // (B)
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
      inputs.gate = Widen(Cast<float>(RandomValues(problem.gates(), seed + 4, 0.02, 1)));
    }
    const int64_t H = problem.H, C = problem.H * problem.D;
    inputs.sink_logit = Widen(Cast<T>(RandomValues(H, seed + 5, -1, 2)));
    inputs.sink_key = Widen(Cast<T>(RandomValues(C, seed + 6, -2, 2)));
    inputs.sink_value = Widen(Cast<T>(RandomValues(C, seed + 7)));
    inputs.dsink_logit = Widen(Cast<float>(RandomValues(H, seed + 8)));
    inputs.dsink_key = Widen(Cast<float>(RandomValues(C, seed + 9)));
    inputs.dsink_value = Widen(Cast<float>(RandomValues(C, seed + 10)));
    for (int64_t b = 0; b < problem.B; ++b) inputs.sample_index.push_back(1000 + 7 * b);
    inputs.dropout = {.probability = problem.dropout,
                      .key = MakePhiloxKey(seed, RandomPurpose::kDropout, 1)};
    inputs.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(problem.D)));
    return inputs;
  }
};

// Scratch of the kernels under test. sink_batch: as in AttentionBackwardWorkspaceBytes.
inline int64_t ForwardWorkspaceFloats(int64_t B, int64_t T, int64_t H, int64_t D) {
  return (kOnCuda ? cuda::AttentionForwardWorkspaceBytes(B, T, H, D)
                  : AttentionForwardWorkspaceBytes(T, H, D, ComputeThreads())) /
         static_cast<int64_t>(sizeof(float));
}
inline int64_t BackwardWorkspaceFloats(const AttentionProblem& problem, int64_t sink_batch) {
  const int64_t T = problem.T, H = problem.H, D = problem.D;
  return (kOnCuda ? cuda::AttentionBackwardWorkspaceBytes(problem.B, T, H, D)
                  : AttentionBackwardWorkspaceBytes(T, H, D, ComputeThreads(), sink_batch)) /
         static_cast<int64_t>(sizeof(float));
}

// Runs the backend's kernels or the reference (double) on buffers that are poisoned and
// guarded, and fails the test when a guard was hit or a gap between rows written.
template <typename T>
class AttentionRun {
 public:
  AttentionRun(const AttentionProblem& problem, const AttentionInputs& inputs)
      : problem_(problem),
        inputs_(inputs),
        lengths_(OnBackend(problem.lengths)),
        documents_(OnBackend(problem.documents)),
        sample_index_(OnBackend(inputs.sample_index)),
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
        log_sum_exp_(problem.tokens() * problem.H, Offset<Accumulator<T>>()),
        sink_logit_(Filled<T>(inputs.sink_logit)),
        sink_key_(Filled<T>(inputs.sink_key)),
        sink_value_(Filled<T>(inputs.sink_value)),
        dsink_logit_(Filled<Accumulator<T>>(inputs.dsink_logit)),
        dsink_key_(Filled<Accumulator<T>>(inputs.dsink_key)),
        dsink_value_(Filled<Accumulator<T>>(inputs.dsink_value)) {
    for (size_t i = 0; i < inputs.dout.size(); ++i) dout_[i] = As<T>(inputs.dout[i]);
    for (size_t i = 0; i < inputs.gate.size(); ++i) gate_[i] = As<Accumulator<T>>(inputs.gate[i]);
  }

  // Forward alone.
  std::vector<T> Out() {
    Forward();
    return Values(out_);
  }
  AttentionResults<T> Run() {
    Forward();
    Backward();
    for (const auto* buffer : {&q_, &k_, &v_, &dq_, &dk_, &dv_, &out_, &dout_}) {
      buffer->ExpectCanariesIntact();
    }
    for (const auto* buffer :
         {&gate_, &dgate_, &log_sum_exp_, &dsink_logit_, &dsink_key_, &dsink_value_}) {
      buffer->ExpectCanariesIntact();
    }
    AttentionResults<T> results = {.out = Values(out_),
                                   .dq = Gather(dq_),
                                   .dk = Gather(dk_),
                                   .dv = Gather(dv_),
                                   .log_sum_exp = Values(log_sum_exp_),
                                   .dgate = {},
                                   .dsink_logit = Values(dsink_logit_),
                                   .dsink_key = Values(dsink_key_),
                                   .dsink_value = Values(dsink_value_)};
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
  template <typename V>
  PoisonedBuffer<V> Filled(const std::vector<double>& values) const {
    PoisonedBuffer<V> buffer(values.size(), Offset<V>());
    for (size_t i = 0; i < values.size(); ++i) buffer[i] = As<V>(values[i]);
    return buffer;
  }
  AttentionMask Mask() const {
    return {.causal = problem_.causal,
            .lengths = lengths_.empty() ? nullptr : lengths_.data(),
            .documents = documents_.empty() ? nullptr : documents_.data(),
            .registers = problem_.registers};
  }
  Dropout DropoutOf() const {
    Dropout dropout = inputs_.dropout;
    dropout.sample_index = sample_index_.data();
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
    PoisonedBuffer<float> workspace(
        ForwardWorkspaceFloats(problem_.B, problem_.T, problem_.H, problem_.D));
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
                                          .gate_per_channel = problem_.per_channel,
                                          .weights = problem_.weights,
                                          .clip = problem_.clip,
                                          .sink = problem_.sink,
                                          .sink_logit = IfLogit(sink_logit_),
                                          .sink_key = IfToken(sink_key_),
                                          .sink_value = IfToken(sink_value_),
                                          .mask = Mask(),
                                          .dropout = DropoutOf(),
                                          .workspace = workspace.data()};
    if constexpr (std::is_same_v<T, double>) {
      reference::AttentionForward(args);
    } else {
      ASSERT_TRUE(backend::AttentionForward<T>(args).ok());
    }
    workspace.ExpectCanariesIntact();
  }

  void Backward() {
    PoisonedBuffer<float> workspace(
        BackwardWorkspaceFloats(problem_, HasLearnedSink() ? problem_.B : 0));
    const AttentionBackwardArgs<T> args = {
        .q = q_.data(),
        .k = k_.data(),
        .v = v_.data(),
        .gate = GatePointer(),
        .out = out_.data(),
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
        .gate_per_channel = problem_.per_channel,
        .weights = problem_.weights,
        .clip = problem_.clip,
        .sink = problem_.sink,
        .sink_logit = IfLogit(sink_logit_),
        .sink_key = IfToken(sink_key_),
        .sink_value = IfToken(sink_value_),
        .dsink_logit = IfLogit(dsink_logit_),
        .dsink_key = IfToken(dsink_key_),
        .dsink_value = IfToken(dsink_value_),
        .mask = Mask(),
        .dropout = DropoutOf(),
        .workspace = workspace.data()};
    if constexpr (std::is_same_v<T, double>) {
      reference::AttentionBackward(args);
    } else {
      ASSERT_TRUE(backend::AttentionBackward<T>(args).ok());
    }
    workspace.ExpectCanariesIntact();
  }
  bool HasLearnedSink() const {
    return problem_.sink == SoftmaxSink::kLogit || problem_.sink_token;
  }
  template <typename V>
  V* IfLogit(PoisonedBuffer<V>& buffer) const {
    return problem_.sink == SoftmaxSink::kLogit ? buffer.data() : nullptr;
  }
  template <typename V>
  V* IfToken(PoisonedBuffer<V>& buffer) const {
    return problem_.sink_token ? buffer.data() : nullptr;
  }
  const Accumulator<T>* GatePointer() const {
    return problem_.site == GateSite::kNone ? nullptr : gate_.data();
  }

  AttentionProblem problem_;
  AttentionInputs inputs_;
  BackendVector<int32_t> lengths_, documents_;
  BackendVector<int64_t> sample_index_;
  PoisonedBuffer<T> q_, k_, v_, dq_, dk_, dv_, out_, dout_;
  PoisonedBuffer<Accumulator<T>> gate_, dgate_, log_sum_exp_;
  PoisonedBuffer<T> sink_logit_, sink_key_, sink_value_;
  PoisonedBuffer<Accumulator<T>> dsink_logit_, dsink_key_, dsink_value_;
};

template <typename T>
AttentionResults<T> RunAttention(const AttentionProblem& problem, const AttentionInputs& inputs) {
  return AttentionRun<T>(problem, inputs).Run();
}

// Documents of the given lengths, over and over until a row is full.
inline std::vector<int32_t> Documents(int64_t B, int64_t T, const std::vector<int>& lengths) {
  std::vector<int32_t> documents;
  for (int64_t b = 0; b < B; ++b) {
    size_t which = static_cast<size_t>(b) % lengths.size();  // rows differ
    int32_t id = 10;
    for (int left = lengths[which]; static_cast<int64_t>(documents.size()) < (b + 1) * T; --left) {
      if (left == 0) {
        which = (which + 1) % lengths.size();
        left = lengths[which];
        ++id;
      }
      documents.push_back(id);
    }
  }
  return documents;
}

}  // namespace sluice::testing
