// The only way to look inside a model, and to change what flows through it: telemetry, metrics and
// simulated quantization are Observers, and no model file knows them.
//
// A pass shows each named tensor of each layer in the order in which forward makes them, as soon as
// it is complete. N = B·(R + T) rows, each sequence's R registers first; C, I, H: hidden and
// intermediate size, heads. Values are of the working dtype unless said otherwise.
//
// clang-format off
//   layer -1   "embedding.token"             (B·T, E)  rows of the token table; see below
//              "embedding.token_and_segment" (B·T, C)  with the segments' rows; see below
//              "embedding.sum"               (N, C)    sum of the embeddings
//              "embedding.norm"              (N, C)    behind the input LayerNorm (and dropout);
//                                                      pre-LN: what layer 0's attention reads
//   layer l    "attention.qkv"               (N, 3C)   query, key and value, biases included
//              "gate"                        (N, H), or (N, C) with one gate a channel; accumulator
//                                                      dtype; gated attention only
//              "attention.context"           (N, C)    what the output projection reads: heads
//                                                      merged, gated
//              "attention.output"            (N, C)    output projection, before dropout and
//                                                      residual
//              "attention.residual_sum"      (N, C)    the stream with it
//              "attention.norm"              (N, C)    behind the LayerNorm that follows
//              "feed_forward.activated"      (N, I)    behind the activation
//              "feed_forward.output"         (N, C)    second projection, before dropout and
//                                                      residual
//              "feed_forward.residual_sum"   (N, C)    the stream with it
//              "feed_forward.norm"           (N, C)    behind the LayerNorm that follows; pre-LN:
//                                                      what layer l + 1 reads, or the final
//                                                      LayerNorm's
// clang-format on
//
// One kernel sums the embeddings and normalizes the sum. It is taken apart for an observer that
// changes values: for one that wants "embedding.sum" behind the sum, and for one that wants
// "embedding.token" behind each of its parts: only then the first two are shown, the second only
// where there are segments.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ops/attention_variant.h"
#include "ops/execution_context.h"
#include "runtime/tensor.h"

namespace sluice {

namespace observed {
inline constexpr absl::string_view kTokenEmbedding = "embedding.token";
inline constexpr absl::string_view kTokenAndSegment = "embedding.token_and_segment";
inline constexpr absl::string_view kEmbeddingSum = "embedding.sum";
inline constexpr absl::string_view kEmbeddingNorm = "embedding.norm";
inline constexpr absl::string_view kQueryKeyValue = "attention.qkv";
inline constexpr absl::string_view kGate = "gate";
inline constexpr absl::string_view kContext = "attention.context";
inline constexpr absl::string_view kAttentionOutput = "attention.output";
inline constexpr absl::string_view kAttentionSum = "attention.residual_sum";
inline constexpr absl::string_view kAttentionNorm = "attention.norm";
inline constexpr absl::string_view kActivated = "feed_forward.activated";
inline constexpr absl::string_view kFeedForwardOutput = "feed_forward.output";
inline constexpr absl::string_view kFeedForwardSum = "feed_forward.residual_sum";
inline constexpr absl::string_view kFeedForwardNorm = "feed_forward.norm";
}  // namespace observed

// One layer's attention, for observers that need scores and probabilities, which no kernel keeps.
// All in memory of the host.
struct ObservedAttention {
  int64_t B, T, H, D;                           // sequences that are shown; T with registers
  TensorView qkv;                               // (N, 3C)
  TensorView gate;                              // as above; null: not gated
  TensorView sink_logit, sink_key, sink_value;  // (H), (H, D), (H, D) or null
  const ops::AttentionVariant& variant;
  AttentionMask mask;
  TensorView context;  // (N, C): what attention gave; with kReplace to be overwritten
};

class Observer {
 public:
  virtual ~Observer() = default;

  // Whether Observe is to be called for `tensor`: a GPU copies only what is wanted.
  virtual bool Wants(absl::string_view tensor) const = 0;
  // Before Observe: an observer that can work where the tensor lies, with ops in the order of the
  // stream and without a wait, does so and returns true. Then Observe is not called.
  virtual absl::StatusOr<bool> ObserveInPlace(ExecutionContext& /*context*/, int /*layer*/,
                                              absl::string_view /*tensor*/,
                                              const TensorView& /*view*/) {
    return false;
  }
  // The view is of host memory (on a GPU a copy, for which the step waits) and dies with the call.
  // An observer that changes values may write to it, and the pass goes on with what it wrote.
  virtual void Observe(int layer, absl::string_view tensor, const TensorView& view) = 0;
  // Changes are for passes without backward, which would not know of them.
  virtual bool changes_values() const { return false; }

  // Whether ObserveAttention is called: never; behind attention; or in its place, with dropout
  // left to the observer, who has to write `context`.
  enum class AttentionLook { kNone, kObserve, kReplace };
  virtual AttentionLook attention_look() const { return AttentionLook::kNone; }
  // Of the pass's B sequences, how many of the first ObserveAttention is to be shown: a GPU copies
  // only these. All of them with kReplace.
  virtual int64_t attention_sequences(int64_t B) const { return B; }
  virtual absl::Status ObserveAttention(int /*layer*/, const ObservedAttention& /*attention*/) {
    return absl::OkStatus();
  }
};

// Two observers of one pass: `second` sees what `first` has made of it, and only `first` may look
// at attention.
class ObserverChain : public Observer {
 public:
  ObserverChain(Observer& first, Observer& second) : first_(first), second_(second) {}

  bool Wants(absl::string_view tensor) const override {
    return first_.Wants(tensor) || second_.Wants(tensor);
  }
  // Done where both have done what they want.
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& context, int layer,
                                      absl::string_view tensor, const TensorView& view) override;
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  bool changes_values() const override {
    return first_.changes_values() || second_.changes_values();
  }
  AttentionLook attention_look() const override { return first_.attention_look(); }
  int64_t attention_sequences(int64_t B) const override { return first_.attention_sequences(B); }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override {
    return first_.ObserveAttention(layer, attention);
  }

 private:
  Observer& first_;
  Observer& second_;
  bool first_done_ = false, second_done_ = false;  // in place, with the tensor at hand
};

// Shows `tensor` (null: not there) to `observer` (may be null).
absl::Status Show(ExecutionContext& context, Observer* observer, int layer, absl::string_view name,
                  const TensorView& tensor);

// The same for attention, whose tensors and mask are of the device; `context` of the call is
// written back after kReplace.
absl::Status ShowAttention(ExecutionContext& context, Observer& observer, int layer,
                           const ObservedAttention& attention);

}  // namespace sluice
