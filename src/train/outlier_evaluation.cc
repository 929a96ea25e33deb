#include "train/outlier_evaluation.h"

#include "core/status.h"

namespace sluice {

bool IsPreNorm(Engine& engine) {
  return engine.model().architecture().norm_placement == NormPlacement::kPreNorm;
}

absl::StatusOr<OutlierEvaluation> EvaluateWithOutliers(Engine& engine, BatchSource& source,
                                                       Communicator& communicator,
                                                       const OutlierEvaluationOptions& options) {
  const ModelConfig& model = engine.config().model;
  const bool by_default =
      options.kurtosis_batches == OutlierEvaluationOptions::kDefaultKurtosisBatches;
  OutlierMetrics metrics(
      {.layers = model.num_hidden_layers,
       .hidden_size = model.hidden_size,
       .row_length = model.attention.register_tokens + source.sequence_length(),
       .kurtosis_batches = by_default
                               ? DefaultKurtosisBatches(IsPreNorm(engine), options.batch_size)
                               : options.kurtosis_batches,
       .rank = communicator.rank(),
       .world_size = communicator.world_size()});
  OutlierEvaluation evaluation;
  if (options.changes == nullptr) {
    ASSIGN_OR_RETURN(evaluation.result, Evaluate(engine, source, communicator, options.batch_size,
                                                 options.batches, &metrics));
  } else {
    ObserverChain both(*options.changes, metrics);
    ASSIGN_OR_RETURN(evaluation.result, Evaluate(engine, source, communicator, options.batch_size,
                                                 options.batches, &both));
  }
  RETURN_IF_ERROR(metrics.Merge(communicator));
  evaluation.outliers = metrics.tensors();
  return evaluation;
}

}  // namespace sluice
