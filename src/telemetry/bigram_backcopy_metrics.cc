#include "telemetry/bigram_backcopy_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/parallel.h"

namespace sluice {
namespace {

// What is added up of a layer; behind these, two of each token: sum and number of its deltas.
enum Sum {
  kQueries,         // positions >= 1 without trigger
  kTriggerQueries,  // positions with
  kSequences,       // positions 0
  kToStart,
  kStartToStart,  // of queries at position 0
  kToTriggers,
  kEntropy,
  kToPrevious,
  kDeltaToken,
  kDeltaTokenTrigger,
  kValueStart,
  kOutputValueStart,
  kGatedValueStart,
  kOutputValue,
  kResidualStart,
  kResidualOthers,
  kOthers,  // positions >= 1
  kGate,
  kGateTrigger,
  kGateStart,
  kGated,     // sequences with gates
  kKeyGates,  // … at the key site
  kSums
};

double Norm(const double* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}

// ‖W v_t‖ of each row t of `values`.
template <typename T>
std::vector<double> OutputNorms(const PaddedRows<T>& values, const PaddedRows<T>& weight,
                                int64_t rows, int64_t features) {
  std::vector<double> squares(static_cast<size_t>(rows));
  for (int64_t c = 0; c < features; ++c) {
    for (int64_t t = 0; t < rows; ++t) {
      const double product = InnerProduct(weight.Row(c), values.Row(t), weight.stride);
      squares[static_cast<size_t>(t)] += product * product;
    }
  }
  for (double& square : squares) square = std::sqrt(square);
  return squares;
}

// The q-quantile of sorted values, linear between neighbours.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

BigramBackcopyObserver::BigramBackcopyObserver(const BigramBackcopy& task, int64_t sequences,
                                               const std::vector<TensorView>& output_weights)
    : task_(task),
      output_weights_(output_weights.size()),
      wide_output_weights_(output_weights.size()),
      sums_(sequences, std::ssize(output_weights) * layer_width()) {
  for (size_t layer = 0; layer < output_weights.size(); ++layer) {
    const TensorView& weight = output_weights[layer];
    output_weights_[layer].Load(weight, 0, weight.rows(), 0, weight.dim(-1));
    wide_output_weights_[layer].Load(weight, 0, weight.rows(), 0, weight.dim(-1));
  }
}

int64_t BigramBackcopyObserver::layer_width() const { return kSums + 2 * task_.vocabulary_size(); }

double* BigramBackcopyObserver::SumsOf(int64_t b, int layer) {
  return sums_.Of(first_sequence_ + b) + layer * layer_width();
}

int32_t BigramBackcopyObserver::Token(int64_t b, int64_t i) const {
  return batch_->tokens[static_cast<size_t>(b * batch_->T + i)];
}

void BigramBackcopyObserver::BeginBatch(const Batch& batch, int64_t first_sequence) {
  batch_ = &batch;
  first_sequence_ = first_sequence;
}

void BigramBackcopyObserver::Observe(int layer, absl::string_view tensor, const TensorView& view) {
  if (tensor != observed::kFeedForwardSum) return;
  CHECK(batch_ != nullptr);
  const int64_t T = batch_->T, rows = view.rows() / batch_->B, registers = rows - T;
  ParallelFor(batch_->B, 1, [&](int64_t begin, int64_t end) {
    PaddedRows<double> residual;
    for (int64_t b = begin; b < end; ++b) {
      double* sums = SumsOf(b, layer);
      residual.Load(view, b * rows + registers, T, 0, view.dim(-1));
      for (int64_t i = 0; i < T; ++i) {
        sums[i == 0 ? kResidualStart : kResidualOthers] += Norm(residual.Row(i), view.dim(-1));
      }
      sums[kOthers] += static_cast<double>(T - 1);
    }
  });
}

absl::Status BigramBackcopyObserver::ObserveAttention(int layer,
                                                      const ObservedAttention& attention) {
  CHECK(batch_ != nullptr && attention.B == batch_->B);
  const double share = 1 / static_cast<double>(attention.H);
  ParallelFor(attention.B, 1, [&](int64_t begin, int64_t end) {
    AttentionProbabilities head;
    for (int64_t b = begin; b < end; ++b) {
      double* sums = SumsOf(b, layer);
      for (int64_t i = 0; i < batch_->T; ++i) {
        sums[i == 0 ? kSequences : task_.IsTrigger(Token(b, i)) ? kTriggerQueries : kQueries] += 1;
      }
      for (int64_t h = 0; h < attention.H; ++h) {
        head.Load(attention, b, h);
        AddQueries(head, b, share, sums);
      }
      AddValues(attention, layer, b, sums);
      if (!attention.gate.null()) AddGates(attention, b, sums);
    }
  });
  return absl::OkStatus();
}

void BigramBackcopyObserver::AddQueries(AttentionProbabilities& head, int64_t b, double share,
                                        double* sums) const {
  // 1, but for what registers and sinks take.
  sums[kStartToStart] += share * head.Row(0).probabilities[0];
  for (int64_t i = 1; i < batch_->T; ++i) {
    const AttentionProbabilities::QueryRow row = head.Row(i);
    const int32_t token = Token(b, i);
    AddScores(row, token, share, sums);
    if (task_.IsTrigger(token)) {
      sums[kToPrevious] += share * row.probabilities[static_cast<size_t>(i - 1)];
      continue;
    }
    sums[kToStart] += share * row.probabilities[0];
    sums[kEntropy] += share * row.entropy;
    double to_triggers = 0;
    for (int64_t j = 1; j <= i; ++j) {
      if (task_.IsTrigger(Token(b, j))) to_triggers += row.probabilities[static_cast<size_t>(j)];
    }
    sums[kToTriggers] += share * to_triggers;
  }
}

void BigramBackcopyObserver::AddScores(const AttentionProbabilities::QueryRow& row, int32_t token,
                                       double share, double* sums) const {
  const size_t i = row.scores.size() - 1;
  const double between = std::accumulate(row.scores.begin() + 1, row.scores.end() - 1, 0.0);
  const double others = (between + row.scores[i]) / static_cast<double>(i);
  sums[task_.IsTrigger(token) ? kDeltaTokenTrigger : kDeltaToken] +=
      share * (row.scores[0] - others);
  if (i < 2) return;
  double* of_token = sums + kSums + 2 * token;
  of_token[0] += share * (row.scores[0] - between / static_cast<double>(i - 1));
  of_token[1] += share;
}

void BigramBackcopyObserver::AddValues(const ObservedAttention& attention, int layer, int64_t b,
                                       double* sums) const {
  const int64_t T = batch_->T, C = attention.H * attention.D;
  const int64_t first = b * attention.T + attention.T - T;
  std::vector<double> norms;
  PaddedRows<double> values;
  if (attention.qkv.dtype() == DType::kFloat64) {
    values.Load(attention.qkv, first, T, 2 * C, C);
    norms = OutputNorms(values, wide_output_weights_[static_cast<size_t>(layer)], T, C);
  } else {
    PaddedRows<float> narrow;
    narrow.Load(attention.qkv, first, T, 2 * C, C);
    norms = OutputNorms(narrow, output_weights_[static_cast<size_t>(layer)], T, C);
    values.Load(attention.qkv, first, 1, 2 * C, C);
  }
  sums[kOutputValueStart] += norms[0];
  sums[kValueStart] += Norm(values.Row(0), C);
  for (int64_t i = 1; i < T; ++i) {
    if (!task_.IsTrigger(Token(b, i))) sums[kOutputValue] += norms[static_cast<size_t>(i)];
  }
  if (attention.variant.gate_site != GateSite::kKey) return;
  sums[kKeyGates] += 1;
  PaddedRows<double> gate;
  gate.Load(attention.gate, first, 1, 0, attention.gate.dim(-1));
  const int64_t channels = C / attention.gate.dim(-1);  // of a gate
  std::vector<double> gated(values.Row(0), values.Row(0) + C);
  for (int64_t c = 0; c < C; ++c) gated[static_cast<size_t>(c)] *= gate.Row(0)[c / channels];
  sums[kGatedValueStart] += Norm(gated.data(), C);
}

void BigramBackcopyObserver::AddGates(const ObservedAttention& attention, int64_t b,
                                      double* sums) const {
  const int64_t T = batch_->T, G = attention.gate.dim(-1);
  PaddedRows<double> gate;
  gate.Load(attention.gate, b * attention.T + attention.T - T, T, 0, G);
  sums[kGated] += 1;
  for (int64_t i = 0; i < T; ++i) {
    const double mean = std::accumulate(gate.Row(i), gate.Row(i) + G, 0.0) / static_cast<double>(G);
    sums[i == 0 ? kGateStart : task_.IsTrigger(Token(b, i)) ? kGateTrigger : kGate] += mean;
  }
}

std::vector<BigramBackcopyLayer> BigramBackcopyObserver::Layers() const {
  const std::vector<double> totals = sums_.Totals();
  std::vector<BigramBackcopyLayer> layers;
  for (size_t layer = 0; layer < output_weights_.size(); ++layer) {
    layers.push_back(LayerOf(totals.data() + layer * static_cast<size_t>(layer_width())));
  }
  return layers;
}

BigramBackcopyLayer BigramBackcopyObserver::LayerOf(const double* sums) const {
  const double queries = sums[kQueries], triggers = sums[kTriggerQueries];
  const double sequences = sums[kSequences];
  std::vector<double> types, trigger_types;
  for (int32_t token = 0; token < task_.ordinary_tokens(); ++token) {
    const double* of_token = sums + kSums + 2 * token;
    if (of_token[1] == 0) continue;
    (task_.IsTrigger(token) ? trigger_types : types).push_back(of_token[0] / of_token[1]);
  }
  std::sort(types.begin(), types.end());
  const bool gated = sums[kGated] > 0;
  const double none = std::numeric_limits<double>::quiet_NaN();
  BigramBackcopyLayer layer{
      .attention_to_start = sums[kToStart] / queries,
      .attention_to_start_guo = (sums[kToStart] + sums[kStartToStart]) / (queries + sequences),
      .attention_to_triggers = sums[kToTriggers] / queries,
      .attention_entropy = sums[kEntropy] / queries,
      .attention_to_previous = sums[kToPrevious] / triggers,
      .delta_logit_type = types.empty() ? none : Mean(types),
      .delta_logit_type_p10 = types.empty() ? none : Quantile(types, 0.1),
      .delta_logit_type_p90 = types.empty() ? none : Quantile(types, 0.9),
      .delta_logit_type_trigger = trigger_types.empty() ? none : Mean(trigger_types),
      .delta_logit_token = sums[kDeltaToken] / queries,
      .delta_logit_token_trigger = sums[kDeltaTokenTrigger] / triggers,
      .value_norm_start = sums[kValueStart] / sequences,
      .output_value_norm_start = sums[kOutputValueStart] / sequences,
      .gated_value_norm_start = sums[kKeyGates] > 0 ? sums[kGatedValueStart] / sequences : none,
      .value_ratio = sums[kOutputValueStart] / sequences / (sums[kOutputValue] / queries),
      .residual_norm_start = sums[kResidualStart] / sequences,
      .residual_norm_others = sums[kResidualOthers] / sums[kOthers],
      .gate_non_trigger = gated ? sums[kGate] / queries : none,
      .gate_trigger = gated ? sums[kGateTrigger] / triggers : none,
      .gate_start = gated ? sums[kGateStart] / sequences : none};
  return layer;
}

std::vector<std::pair<std::string, double>> NamedValues(const BigramBackcopyLayer& layer) {
  return {{"attention_to_start", layer.attention_to_start},
          {"attention_to_start_guo", layer.attention_to_start_guo},
          {"attention_to_triggers", layer.attention_to_triggers},
          {"attention_entropy", layer.attention_entropy},
          {"attention_to_previous", layer.attention_to_previous},
          {"delta_logit_type", layer.delta_logit_type},
          {"delta_logit_type_p10", layer.delta_logit_type_p10},
          {"delta_logit_type_p90", layer.delta_logit_type_p90},
          {"delta_logit_type_trigger", layer.delta_logit_type_trigger},
          {"delta_logit_token", layer.delta_logit_token},
          {"delta_logit_token_trigger", layer.delta_logit_token_trigger},
          {"value_norm_start", layer.value_norm_start},
          {"output_value_norm_start", layer.output_value_norm_start},
          {"gated_value_norm_start", layer.gated_value_norm_start},
          {"value_ratio", layer.value_ratio},
          {"residual_norm_start", layer.residual_norm_start},
          {"residual_norm_others", layer.residual_norm_others},
          {"residual_gap", layer.residual_gap()},
          {"gate_non_trigger", layer.gate_non_trigger},
          {"gate_trigger", layer.gate_trigger},
          {"gate_start", layer.gate_start}};
}

void BigramBackcopyAblation::Observe(int /*layer*/, absl::string_view tensor,
                                     const TensorView& view) {
  if (tensor != observed::kFeedForwardOutput) return;
  CHECK(view.contiguous());
  std::memset(view.data(), 0, static_cast<size_t>(view.bytes()));
}

absl::Status BigramBackcopyAblation::ObserveAttention(int /*layer*/,
                                                      const ObservedAttention& attention) {
  CHECK(attention.context.contiguous());
  std::memset(attention.context.data(), 0, static_cast<size_t>(attention.context.bytes()));
  return absl::OkStatus();
}

}  // namespace sluice
