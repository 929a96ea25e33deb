// The definitions of attention statistics (docs/metrics.md), written out once more in double over
// the reference's tensors: whole T×T matrices, no running sums, no code of the telemetry's.
#pragma once

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "data/batch.h"
#include "model/observer.h"
#include "train/engine.h"

namespace sluice::testing {

using Matrix = std::vector<std::vector<double>>;

inline constexpr int64_t kB = 5, kT = 7, kSequences = 4;  // the last row is not looked at

inline bool IsSpecial(int32_t token) { return token >= 2 && token <= 4; }

// Queries, keys, values and gates of one pass, as rows of numbers, by layer.
class Recorder : public Observer {
 public:
  bool Wants(absl::string_view tensor) const override {
    return tensor == observed::kQueryKeyValue || tensor == observed::kGate;
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    Matrix& rows = (tensor == observed::kGate ? gates : qkv)[layer];
    for (int64_t row = 0; row < view.rows(); ++row) {
      const double* from = view.as<double>() + row * view.row_stride();
      rows.emplace_back(from, from + view.dim(-1));
    }
  }
  std::map<int, Matrix> qkv, gates;
};

inline double Mean(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

// The definitions, for one layer and head.
struct Naive {
  const Engine& engine;
  const Batch& batch;
  const Recorder& seen;
  int layer;
  int64_t h;

  const AttentionConfig& Attention() const { return engine.config().model.attention; }
  int64_t R() const { return Attention().register_tokens; }
  int64_t C() const { return engine.config().model.hidden_size; }
  int64_t D() const { return C() / engine.config().model.num_attention_heads; }
  bool Causal() const { return engine.config().model.architecture != "bert"; }
  // Row i of sequence b; registers are the rows below 0.
  size_t Row(int64_t b, int64_t i) const { return static_cast<size_t>(b * (R() + kT) + R() + i); }
  double At(int64_t b, int64_t i, int64_t part, int64_t d) const {
    return seen.qkv.at(layer)[Row(b, i)][static_cast<size_t>(part * C() + h * D() + d)];
  }
  const double* Parameter(const std::string& end) const {
    const auto& all = engine.parameters().parameters();
    const std::string number = "." + std::to_string(layer) + ".";
    for (size_t p = 0; p < all.size(); ++p) {
      if (all[p].name.ends_with(end) && all[p].name.find(number) != std::string::npos) {
        return engine.parameters().Master(static_cast<int>(p)).as<double>();
      }
    }
    ADD_FAILURE() << end;
    return nullptr;
  }

  int64_t Length(int64_t b) const {
    return batch.lengths.empty() ? kT : batch.lengths[static_cast<size_t>(b)];
  }
  bool Visible(int64_t b, int64_t i, int64_t j) const {
    if (i >= Length(b)) return false;
    if (j < 0) return true;
    if (j >= Length(b) || (Causal() && j > i)) return false;
    return batch.documents.empty() || batch.documents[static_cast<size_t>(b * kT + i)] ==
                                          batch.documents[static_cast<size_t>(b * kT + j)];
  }
  double Score(int64_t b, int64_t i, int64_t j) const {
    double dot = 0;
    for (int64_t d = 0; d < D(); ++d) dot += At(b, i, 0, d) * At(b, j, 1, d);
    return dot / std::sqrt(static_cast<double>(D()));
  }

  struct Query {
    std::vector<double> p;  // of registers, tokens, and the sink token where there is one
    double on_sink_logit = 0;
  };
  Query Probabilities(int64_t b, int64_t i) const {
    Query query;
    const bool relu = Attention().variant == "relu";
    double extra = 0, keys = 0;
    for (int64_t j = -R(); j < kT; ++j) {
      const double score = Visible(b, i, j) ? Score(b, i, j) : -INFINITY;
      query.p.push_back(relu ? std::max(score, 0.0) : std::exp(score));
      keys += Visible(b, i, j) ? 1 : 0;
    }
    if (Attention().learnable_sink == "token" && Attention().variant == "learnable_sink") {
      double dot = 0;
      for (int64_t d = 0; d < D(); ++d) dot += At(b, i, 0, d) * Parameter("sink.key")[h * D() + d];
      query.p.push_back(std::exp(dot / std::sqrt(static_cast<double>(D()))));
    }
    if (Attention().variant == "softmax_plus_one") extra = 1;
    if (Attention().variant == "learnable_sink" && Attention().learnable_sink == "logit") {
      extra = std::exp(Parameter("sink.logit")[h]);
    }
    const double sum = relu ? keys : std::accumulate(query.p.begin(), query.p.end(), extra);
    query.on_sink_logit = extra / sum;
    for (double& p : query.p) p /= sum;
    if (Attention().variant != "clipped_softmax") return query;
    const double gamma = static_cast<float>(Attention().clipped_softmax.gamma);
    const double zeta = static_cast<float>(Attention().clipped_softmax.zeta);
    for (int64_t j = -R(); j < kT; ++j) {
      double& p = query.p[static_cast<size_t>(R() + j)];
      if (Visible(b, i, j)) p = std::min(1.0, std::max(0.0, (zeta - gamma) * p + gamma));
    }
    return query;
  }

  double ValueNorm(int64_t b, int64_t i, bool gated) const {
    double sum = 0;
    for (int64_t d = 0; d < D(); ++d) {
      double value = At(b, i, 2, d);
      if (gated) {
        const std::vector<double>& gates = seen.gates.at(layer)[Row(b, i)];
        const bool per_channel = std::ssize(gates) == C();
        value *= gates[static_cast<size_t>(per_channel ? h * D() + d : h)];
      }
      sum += value * value;
    }
    return std::sqrt(sum);
  }

  std::map<std::string, double> Statistics() const {
    std::map<std::string, std::vector<double>> lists;
    for (int64_t b = 0; b < kSequences; ++b) {
      std::vector<double> on_column(kT);
      int64_t queries = 0;
      for (int64_t i = 0; i < kT; ++i) queries += AddQuery(b, i, lists, on_column);
      // A sequence's strongest column weighs as much as it has queries.
      const double strongest = *std::max_element(on_column.begin(), on_column.end());
      for (int64_t n = 0; n < queries; ++n) {
        lists["mass_on_strongest"].push_back(strongest / static_cast<double>(queries));
      }
      for (const bool gated : {false, true}) {
        if (gated && (Attention().variant != "gated" || Attention().gate.site != "key")) continue;
        for (int64_t i = 0; i < Length(b); ++i) {
          lists[std::string(gated ? "gated " : "") + (i == 0 ? "first" : "others")].push_back(
              ValueNorm(b, i, gated));
        }
      }
    }
    std::map<std::string, double> statistics;
    for (const auto& [name, values] : lists) statistics[name] = Mean(values);
    statistics["value_norm_ratio"] = statistics["first"] / statistics["others"];
    if (lists.contains("gated first")) {
      statistics["gated_value_norm_ratio"] = statistics["gated first"] / statistics["gated others"];
    }
    for (const char* part : {"first", "others", "gated first", "gated others"}) {
      statistics.erase(part);
    }
    return statistics;
  }

  // Whether i is a query: sees a token besides itself.
  int64_t AddQuery(int64_t b, int64_t i, std::map<std::string, std::vector<double>>& lists,
                   std::vector<double>& on_column) const {
    std::vector<int64_t> keys;
    for (int64_t j = 0; j < kT; ++j) {
      if (Visible(b, i, j)) keys.push_back(j);
    }
    if (keys.size() < 2) return 0;
    const Query query = Probabilities(b, i);
    double on_special = 0, on_registers = 0, entropy = 0;
    for (const int64_t j : keys) {
      const double p = query.p[static_cast<size_t>(R() + j)];
      on_column[static_cast<size_t>(j)] += p;
      if (IsSpecial(batch.tokens[static_cast<size_t>(b * kT + j)])) on_special += p;
    }
    for (int64_t r = 0; r < R(); ++r) on_registers += query.p[static_cast<size_t>(r)];
    for (const double p : query.p) entropy -= p > 0 ? p * std::log(p) : 0;
    lists["mass_on_special"].push_back(on_special);
    lists["entropy"].push_back(entropy);
    if (R() > 0) lists["mass_on_registers"].push_back(on_registers);
    if (std::ssize(query.p) > R() + kT) lists["mass_on_sink_token"].push_back(query.p.back());
    if (query.on_sink_logit > 0) lists["mass_on_sink_logit"].push_back(query.on_sink_logit);
    if (!Visible(b, i, 0)) return 1;
    lists["mass_on_first"].push_back(query.p[static_cast<size_t>(R())]);
    std::vector<double> others;
    for (const int64_t j : keys) {
      if (j > 0) others.push_back(Score(b, i, j));
    }
    lists["delta_logit"].push_back(Score(b, i, 0) - Mean(others));
    return 1;
  }
};

}  // namespace sluice::testing
