#include "telemetry/attention_telemetry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "core/parallel.h"
#include "core/status.h"

namespace sluice {
namespace {

// What is added up of a sequence, layer and head. "Queries" see a token besides themselves.
enum Sum {
  kSequences,
  kQueries,
  kQueriesOfFirst,  // that see position 0
  kOnFirst,
  kOnSpecial,
  kOnStrongest,
  kOnRegisters,
  kOnSinkToken,
  kOnSinkLogit,
  kDelta,
  kEntropy,
  kFirstValue,
  kOtherValues,
  kOtherTokens,
  kGatedFirstValue,
  kGatedOtherValues,
  kSums
};

constexpr char kStateSums[] = "attention_since_checkpoint";
constexpr char kStateLooks[] = "attention_looks_since_checkpoint";

double Norm(const double* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return std::sqrt(sum);
}

}  // namespace

AttentionTelemetry::AttentionTelemetry(const RunConfig& config, const TokenizerIdentity& tokenizer)
    : enabled_(config.telemetry.attention_statistics_every > 0),
      layers_(config.model.num_hidden_layers),
      heads_(config.model.num_attention_heads),
      registers_(config.model.attention.register_tokens),
      sequences_(
          std::min(config.telemetry.statistics_sequences, config.training.global_batch_size)),
      classes_(tokenizer, {}) {
  const AttentionConfig& attention = config.model.attention;
  const bool learned = attention.variant == "learnable_sink";
  sink_token_ = learned && attention.learnable_sink == "token";
  sink_logit_ = (learned && !sink_token_) || attention.variant == "softmax_plus_one";
  key_gates_ = attention.variant == "gated" && attention.gate.site == "key";
}

void AttentionTelemetry::BeginUpdate() {
  sums_ = std::make_unique<SequenceSums>(sequences_, cells() * kSums);
}

bool AttentionTelemetry::BeginBatch(const Batch& batch, int64_t first_row) {
  CHECK(enabled_ && sums_ != nullptr);
  first_row_ = first_row;
  looked_at_ = std::clamp<int64_t>(sequences_ - first_row, 0, batch.B);
  length_ = batch.T;
  if (looked_at_ > 0) classes_.Classify(batch, class_of_token_);
  return looked_at_ > 0;
}

absl::Status AttentionTelemetry::ObserveAttention(int layer, const ObservedAttention& attention) {
  CHECK_EQ(attention.B, looked_at_);
  CHECK_EQ(attention.T, registers_ + length_);
  ParallelFor(looked_at_ * heads_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / heads_, h = i % heads_;
      AddHead(attention, b, h, sums_->Of(first_row_ + b) + (layer * heads_ + h) * kSums);
    }
  });
  return absl::OkStatus();
}

void AttentionTelemetry::AddHead(const ObservedAttention& attention, int64_t b, int64_t h,
                                 double* sums) const {
  AttentionProbabilities head;
  head.Load(attention, b, h);
  AddQueries(head, b, sums);
  AddValues(attention, b, h, sums);
}

void AttentionTelemetry::AddQueries(AttentionProbabilities& head, int64_t b, double* sums) const {
  const uint8_t* token_class = class_of_token_.data() + b * length_;
  std::vector<double> on_column(static_cast<size_t>(length_));
  for (int64_t i = 0; i < length_; ++i) {
    const AttentionProbabilities::QueryRow row = head.Row(i);
    const int64_t count = std::ssize(row.probabilities);
    if (count < 2) continue;
    sums[kQueries] += 1;
    double on_special = 0;
    for (int64_t n = 0; n < count; ++n) {
      const double p = row.probabilities[static_cast<size_t>(n)];
      on_column[static_cast<size_t>(row.first + n)] += p;
      if (token_class[row.first + n] < classes_.special_classes()) on_special += p;
    }
    sums[kOnSpecial] += on_special;
    sums[kOnRegisters] += row.on_registers;
    sums[kOnSinkToken] += row.on_sink_token;
    sums[kOnSinkLogit] += row.on_sink_logit;
    sums[kEntropy] += row.entropy;
    if (row.first > 0) continue;
    sums[kQueriesOfFirst] += 1;
    sums[kOnFirst] += row.probabilities[0];
    const double others = std::accumulate(row.scores.begin() + 1, row.scores.end(), 0.0);
    sums[kDelta] += row.scores[0] - others / static_cast<double>(count - 1);
  }
  sums[kOnStrongest] += *std::ranges::max_element(on_column);
}

void AttentionTelemetry::AddValues(const ObservedAttention& attention, int64_t b, int64_t h,
                                   double* sums) const {
  const int64_t D = attention.D, C = attention.H * D, first = b * attention.T + registers_;
  const int64_t length =
      attention.mask.lengths == nullptr ? length_ : attention.mask.lengths[b] - registers_;
  if (length < 1) return;
  PaddedRows<double> values, gates;
  values.Load(attention.qkv, first, length, 2 * C + h * D, D);
  // A layer may be without gates that others have.
  const bool gated_keys = attention.variant.gate_site == GateSite::kKey;
  const int64_t gates_per_head = gated_keys ? attention.gate.dim(-1) / attention.H : 0;
  if (gated_keys) gates.Load(attention.gate, first, length, h * gates_per_head, gates_per_head);
  sums[kSequences] += 1;
  sums[kOtherTokens] += static_cast<double>(length - 1);
  std::vector<double> gated(static_cast<size_t>(D));
  for (int64_t t = 0; t < length; ++t) {
    const double* value = values.Row(t);
    sums[t == 0 ? kFirstValue : kOtherValues] += Norm(value, D);
    if (!gated_keys) continue;
    for (int64_t d = 0; d < D; ++d) {
      gated[static_cast<size_t>(d)] = value[d] * gates.Row(t)[gates_per_head == 1 ? 0 : d];
    }
    sums[t == 0 ? kGatedFirstValue : kGatedOtherValues] += Norm(gated.data(), D);
  }
}

absl::Status AttentionTelemetry::EndUpdate(Communicator& communicator) {
  CHECK(sums_ != nullptr);
  RETURN_IF_ERROR(sums_->Merge(communicator));
  update_ = {.looks = 1, .sums = sums_->Totals()};
  sums_.reset();
  looked_at_ = 0;
  checkpoint_.looks += 1;
  checkpoint_.sums.resize(update_.sums.size());
  for (size_t i = 0; i < update_.sums.size(); ++i) checkpoint_.sums[i] += update_.sums[i];
  return absl::OkStatus();
}

AttentionStatistics AttentionTelemetry::Statistics(const Totals& totals) const {
  AttentionStatistics statistics;
  if (totals.looks == 0) return statistics;
  statistics.layers = layers_;
  statistics.heads = heads_;
  statistics.looks = totals.looks;
  statistics.sequences = static_cast<int64_t>(totals.sums[kSequences]);
  const auto add = [&](const char* name, auto mean) {
    statistics.names.emplace_back(name);
    for (int64_t cell = 0; cell < cells(); ++cell) {
      statistics.values.push_back(mean(totals.sums.data() + cell * kSums));
    }
  };
  // 0 / 0, where nothing was to be seen, is NaN.
  const auto over = [](Sum sum, Sum count) {
    return [=](const double* sums) { return sums[sum] / sums[count]; };
  };
  add("mass_on_first", over(kOnFirst, kQueriesOfFirst));
  add("mass_on_special", over(kOnSpecial, kQueries));
  add("mass_on_strongest", over(kOnStrongest, kQueries));
  if (registers_ > 0) add("mass_on_registers", over(kOnRegisters, kQueries));
  if (sink_token_) add("mass_on_sink_token", over(kOnSinkToken, kQueries));
  if (sink_logit_) add("mass_on_sink_logit", over(kOnSinkLogit, kQueries));
  add("delta_logit", over(kDelta, kQueriesOfFirst));
  add("entropy", over(kEntropy, kQueries));
  const auto ratio = [](Sum first, Sum others) {
    return [=](const double* sums) {
      return sums[first] / sums[kSequences] / (sums[others] / sums[kOtherTokens]);
    };
  };
  add("value_norm_ratio", ratio(kFirstValue, kOtherValues));
  if (key_gates_) add("gated_value_norm_ratio", ratio(kGatedFirstValue, kGatedOtherValues));
  return statistics;
}

void AttentionTelemetry::SaveState(TelemetryState& state) const {
  if (checkpoint_.looks == 0) return;
  state.sums[kStateSums] = checkpoint_.sums;
  state.counts[kStateLooks] = {checkpoint_.looks};
}

void AttentionTelemetry::RestoreState(const TelemetryState& state) {
  const auto sums = state.sums.find(kStateSums);
  const auto looks = state.counts.find(kStateLooks);
  if (!enabled_ || sums == state.sums.end() || looks == state.counts.end()) return;
  if (std::ssize(sums->second) != cells() * kSums || looks->second.size() != 1) {
    LogWarning("attention statistics begin anew: the checkpoint's are of another model");
    return;
  }
  checkpoint_ = {.looks = looks->second[0], .sums = sums->second};
}

}  // namespace sluice
