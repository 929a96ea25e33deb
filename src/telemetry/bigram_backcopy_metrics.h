// Sink and drain of a model on the Bigram-Backcopy task, as Guo et al. (arXiv 2410.13835) and the
// paper on value-state gated attention (arXiv 2510.09017, section 4.1) measure them, in absolute
// values; docs/bigram_backcopy.md has each formula with its source.
//
//   BigramBackcopyObserver observer(task, sequences, output_weights);
//   observer.BeginBatch(batch, first_sequence);
//   … engine.Predict(batch, positions, &observer) …
//   RETURN_IF_ERROR(observer.Merge(comm));
//   observer.Layers()[0].attention_to_start …
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/observer.h"
#include "runtime/host_tensor.h"
#include "telemetry/attention_probabilities.h"
#include "telemetry/bigram_backcopy_risks.h"

namespace sluice {

// Of one layer, means over heads. "Queries" are those whose token is no trigger, at positions >= 1,
// unless said otherwise; s[i, j] are scores before the softmax, P probabilities after it (of the
// variant, before any gate). Norms are L2. NaN: the layer has no such thing.
struct BigramBackcopyLayer {
  double attention_to_start = 0;      // P[i, 0], mean over queries
  double attention_to_start_guo = 0;  // with position 0, which sees itself alone
  double attention_to_triggers = 0;   // Σ P[i, j] over keys j that are triggers
  double attention_entropy = 0;       // -Σ P ln P, nats
  double attention_to_previous = 0;   // P[i, i-1], mean over trigger queries

  // s[i, 0] - mean of s[i, j] over 1 <= j <= i - 1, i >= 2: mean over the queries of each token,
  // then over tokens; 10 % and 90 % quantiles over tokens, linearly interpolated; the same of
  // triggers.
  double delta_logit_type = 0, delta_logit_type_p10 = 0, delta_logit_type_p90 = 0;
  double delta_logit_type_trigger = 0;
  // s[i, 0] - mean of s[i, j] over 1 <= j <= i: mean over queries; the same of trigger queries.
  double delta_logit_token = 0, delta_logit_token_trigger = 0;

  double value_norm_start = 0;         // ‖v_0‖, never gated
  double output_value_norm_start = 0;  // ‖W_O v_0‖
  double gated_value_norm_start = 0;   // ‖g_0 v_0‖ with gates at the key site
  double value_ratio = 0;              // ‖W_O v_0‖ / mean of ‖W_O v_i‖ over queries i

  double residual_norm_start = 0;   // of the layer's output at position 0
  double residual_norm_others = 0;  // mean over positions >= 1
  // Means of the gates of queries, of trigger queries and of position 0, over channels too.
  double gate_non_trigger = 0, gate_trigger = 0, gate_start = 0;

  double residual_gap() const { return residual_norm_start - residual_norm_others; }
};

// Names and values, in the order above: what records and reports print.
std::vector<std::pair<std::string, double>> NamedValues(const BigramBackcopyLayer& layer);

class BigramBackcopyObserver : public Observer {
 public:
  // `task` outlives this. output_weights: W_O (C, C) of each layer.
  BigramBackcopyObserver(const BigramBackcopy& task, int64_t sequences,
                         const std::vector<TensorView>& output_weights);

  // Before the pass; the batch outlives it. Its first row is sequence `first_sequence` of the set.
  void BeginBatch(const Batch& batch, int64_t first_sequence);

  bool Wants(absl::string_view tensor) const override {
    return tensor == observed::kFeedForwardSum;
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  AttentionLook attention_look() const override { return AttentionLook::kObserve; }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override;

  // Puts in what the other ranks have seen; collective.
  absl::Status Merge(Communicator& communicator) { return sums_.Merge(communicator); }
  std::vector<BigramBackcopyLayer> Layers() const;

 private:
  int64_t layer_width() const;
  double* SumsOf(int64_t b, int layer);
  int32_t Token(int64_t b, int64_t i) const;
  void AddQueries(AttentionProbabilities& head, int64_t b, double share, double* sums) const;
  void AddScores(const AttentionProbabilities::QueryRow& row, int32_t token, double share,
                 double* sums) const;
  void AddValues(const ObservedAttention& attention, int layer, int64_t b, double* sums) const;
  void AddGates(const ObservedAttention& attention, int64_t b, double* sums) const;
  BigramBackcopyLayer LayerOf(const double* sums) const;

  const BigramBackcopy& task_;
  std::vector<PaddedRows<float>> output_weights_;
  std::vector<PaddedRows<double>> wide_output_weights_;
  SequenceSums sums_;  // (sequences, layers · layer_width)
  const Batch* batch_ = nullptr;
  int64_t first_sequence_ = 0;
};

// Takes away attention (all weights are zero) or the feed-forward branch, in every layer. For
// passes without backward.
class BigramBackcopyAblation : public Observer {
 public:
  enum class Part { kAttention, kFeedForward };
  explicit BigramBackcopyAblation(Part part) : part_(part) {}

  bool Wants(absl::string_view tensor) const override {
    return part_ == Part::kFeedForward && tensor == observed::kFeedForwardOutput;
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  bool changes_values() const override { return part_ == Part::kFeedForward; }
  AttentionLook attention_look() const override {
    return part_ == Part::kAttention ? AttentionLook::kReplace : AttentionLook::kNone;
  }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override;

 private:
  Part part_;
};

}  // namespace sluice
