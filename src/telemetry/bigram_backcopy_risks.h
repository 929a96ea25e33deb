// How far a model is from the two things that the Bigram-Backcopy task asks for (Guo et al., arXiv
// 2410.13835). Positions whose query token is a trigger ask for a copy, all others for a row of the
// bigram table; p̂ is the model's softmax.
//
//   BigramBackcopyRisks risks(task, 512);
//   risks.Add(batch, first_sequence, logits);     // (B·T, V), fp32 or fp64
//   RETURN_IF_ERROR(risks.Merge(comm));  risks.Values().backcopy …
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "data/batch.h"
#include "data/bigram_backcopy.h"
#include "runtime/tensor.h"
#include "telemetry/sequence_sums.h"

namespace sluice {

struct BigramBackcopyRiskValues {
  // Nats. Mean over trigger positions of -ln p̂(the token before the trigger).
  double backcopy = 0;
  // Mean over the other positions >= 1 of KL(table row ‖ p̂).
  double bigram = 0;
  // The same with position 0, where Guo et al. take the marginal, triggers included, as the row,
  // although no trigger can follow: a good model is charged for knowing that.
  double bigram_guo = 0;
  // bigram_guo without the rows' entropies taken off: mean of -Σ row · ln p̂.
  double bigram_cross_entropy_guo = 0;
};

class BigramBackcopyRisks {
 public:
  // Both outlive this. `sequences`: of the whole evaluation set.
  BigramBackcopyRisks(const BigramBackcopy& task, int64_t sequences);

  // Of the batch, whose first row is sequence `first_sequence` of the set.
  void Add(const Batch& batch, int64_t first_sequence, const TensorView& logits);

  absl::Status Merge(Communicator& communicator) { return sums_.Merge(communicator); }
  BigramBackcopyRiskValues Values() const;

 private:
  enum Sum { kBackcopy, kTriggers, kBigram, kOthers, kStart, kCrossEntropy, kStarts, kSums };
  void AddPosition(std::vector<double>& log_probabilities, const Batch& batch, int64_t row,
                   double* sums) const;

  const BigramBackcopy& task_;
  SequenceSums sums_;
};

}  // namespace sluice
