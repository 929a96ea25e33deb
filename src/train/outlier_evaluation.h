// Perplexity and the outlier metrics of the same passes.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/outlier_metrics.h"
#include "train/evaluation.h"

namespace sluice {

struct OutlierEvaluationOptions {
  int64_t batch_size = 32, batches = 0;  // of Evaluate
  int64_t kurtosis_batches = kDefaultKurtosisBatches;
  static constexpr int64_t kDefaultKurtosisBatches = -1;  // DefaultKurtosisBatches of the model
  Observer* changes = nullptr;  // what it makes of the tensors is what the metrics see
};

struct OutlierEvaluation {
  EvaluationResult result;
  std::vector<TensorOutliers> outliers;
};

bool IsPreNorm(Engine& engine);

// Collective; all ranks get the same.
absl::StatusOr<OutlierEvaluation> EvaluateWithOutliers(Engine& engine, BatchSource& source,
                                                       Communicator& communicator,
                                                       const OutlierEvaluationOptions& options);

}  // namespace sluice
