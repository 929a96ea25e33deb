#include "telemetry/bigram_backcopy_risks.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/check.h"
#include "core/parallel.h"

namespace sluice {
namespace {

// ln softmax of `row` of the logits.
void LogSoftmax(const TensorView& logits, int64_t row, std::vector<double>& out) {
  const int64_t V = logits.dim(-1);
  out.resize(static_cast<size_t>(V));
  for (int64_t k = 0; k < V; ++k) {
    const int64_t at = row * logits.row_stride() + k;
    out[static_cast<size_t>(k)] =
        logits.dtype() == DType::kFloat64 ? logits.as<double>()[at] : logits.as<float>()[at];
  }
  const double largest = *std::max_element(out.begin(), out.end());
  double sum = 0;
  for (double value : out) sum += std::exp(value - largest);
  const double log_sum = largest + std::log(sum);
  for (double& value : out) value -= log_sum;
}

struct Divergence {
  double cross_entropy = 0, entropy = 0;
  void Add(double p, double log_estimate) {
    if (p <= 0) return;
    cross_entropy -= p * log_estimate;
    entropy -= p * std::log(p);
  }
};

}  // namespace

BigramBackcopyRisks::BigramBackcopyRisks(const BigramBackcopy& task, int64_t sequences)
    : task_(task), sums_(sequences, kSums) {}

void BigramBackcopyRisks::AddPosition(std::vector<double>& log_probabilities, const Batch& batch,
                                      int64_t row, double* sums) const {
  const int64_t i = row % batch.T;
  const int32_t token = batch.tokens[static_cast<size_t>(row)];
  if (task_.IsTrigger(token)) {
    const int32_t before = batch.tokens[static_cast<size_t>(row - 1)];
    sums[kBackcopy] -= log_probabilities[static_cast<size_t>(before)];
    sums[kTriggers] += 1;
    return;
  }
  Divergence divergence;
  for (int32_t k = 0; k < task_.ordinary_tokens(); ++k) {
    divergence.Add(i == 0 ? task_.Marginal(k) : task_.Conditional(token, k),
                   log_probabilities[static_cast<size_t>(k)]);
  }
  const double excess = divergence.cross_entropy - divergence.entropy;
  sums[i == 0 ? kStart : kBigram] += excess;
  sums[i == 0 ? kStarts : kOthers] += 1;
  sums[kCrossEntropy] += divergence.cross_entropy;
}

void BigramBackcopyRisks::Add(const Batch& batch, int64_t first_sequence,
                              const TensorView& logits) {
  CHECK_EQ(logits.rows(), batch.B * batch.T);
  CHECK_GE(logits.dim(-1), task_.vocabulary_size());
  ParallelFor(batch.B, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> log_probabilities;
    for (int64_t row = begin * batch.T; row < end * batch.T; ++row) {
      LogSoftmax(logits, row, log_probabilities);
      AddPosition(log_probabilities, batch, row, sums_.Of(first_sequence + row / batch.T));
    }
  });
}

BigramBackcopyRiskValues BigramBackcopyRisks::Values() const {
  const std::vector<double> sums = sums_.Totals();
  const double all = sums[kOthers] + sums[kStarts];
  return {.backcopy = sums[kBackcopy] / sums[kTriggers],
          .bigram = sums[kBigram] / sums[kOthers],
          .bigram_guo = (sums[kBigram] + sums[kStart]) / all,
          .bigram_cross_entropy_guo = sums[kCrossEntropy] / all};
}

}  // namespace sluice
