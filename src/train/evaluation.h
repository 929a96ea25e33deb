// Held-out loss and perplexity.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/batch_source.h"
#include "train/engine.h"

namespace sluice {

struct EvaluationResult {
  // exp( Σ_b n_b · L_b / Σ_b n_b ): L_b the mean cross-entropy over the targets of batch b, n_b its
  // number of sequences. The definition of Bondarenko et al. 2023's validate_mlm; batches are
  // `batch_size` consecutive sequences whatever the ranks.
  double perplexity = 0;
  double loss = 0;      // nats a target: mean over all targets (its exp is nearly the perplexity)
  double accuracy = 0;  // share of targets predicted right
  int64_t sequences = 0, targets = 0, batch_size = 0;
  double seconds = 0;
  // L_b of each batch, in the order of the data; 0 without targets.
  std::vector<double> batch_losses;
};

// The first `batches` batches of `source` (0: all), dealt to the ranks in turn. Masks are those of
// the source: the same every time. Collective; all ranks get the same result. DivergedError when
// the loss is not finite.
absl::StatusOr<EvaluationResult> Evaluate(Engine& engine, BatchSource& source,
                                          Communicator& communicator, int64_t batch_size,
                                          int64_t batches, Observer* observer = nullptr);

}  // namespace sluice
