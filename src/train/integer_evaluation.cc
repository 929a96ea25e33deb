#include "train/integer_evaluation.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {

IntegerAgreement Compare(std::span<const double> fp32, std::span<const double> simulated,
                         std::span<const double> integer) {
  CHECK(fp32.size() == simulated.size() && fp32.size() == integer.size());
  const auto batches = static_cast<double>(fp32.size());
  IntegerAgreement agreement;
  double mean = 0, squares = 0, differences = 0;
  for (size_t b = 0; b < fp32.size(); ++b) {
    agreement.difference += (integer[b] - simulated[b]) / batches;
    differences += (integer[b] - simulated[b]) * (integer[b] - simulated[b]);
    mean += (simulated[b] - fp32[b]) / batches;
  }
  for (size_t b = 0; b < fp32.size(); ++b) {
    squares += (simulated[b] - fp32[b] - mean) * (simulated[b] - fp32[b] - mean);
  }
  agreement.judged = std::ssize(fp32) >= IntegerAgreement::kFewestBatches;
  if (agreement.judged) {
    agreement.batch_tolerance = 4 * std::sqrt(2 * squares / (batches - 1));
    agreement.tolerance = agreement.batch_tolerance / std::sqrt(batches);
  }
  agreement.batch_difference = std::sqrt(differences / batches);
  return agreement;
}

absl::StatusOr<IntegerEvaluation> EvaluateInIntegers(Engine& engine, BatchSource& source,
                                                     Communicator& communicator,
                                                     const IntegerEvaluationOptions& options) {
  const auto evaluate = [&](Observer* observer) {
    return Evaluate(engine, source, communicator, options.batch_size, options.batches, observer);
  };
  IntegerEvaluation all;
  ASSIGN_OR_RETURN(all.fp32, evaluate(nullptr));
  if (options.smooth > 0) {
    RETURN_IF_ERROR(communicator.Agree(SmoothModel(engine, options.calibration, options.smooth)));
  }
  absl::StatusOr<std::unique_ptr<PostTrainingQuantization>> quantized =
      PostTrainingQuantization::Apply(engine, options.calibration, options.options);
  RETURN_IF_ERROR(communicator.Agree(quantized.status()));
  Observer* activations = &(*quantized)->activations();
  ASSIGN_OR_RETURN(all.simulated, evaluate(activations));
  ASSIGN_OR_RETURN(all.coverage, (*quantized)->UseIntegers());
  ASSIGN_OR_RETURN(all.integer, evaluate(activations));
  RETURN_IF_ERROR((*quantized)->Remove());
  all.agreement =
      Compare(all.fp32.batch_losses, all.simulated.batch_losses, all.integer.batch_losses);
  if (all.agreement.judged && !all.agreement.agrees()) {
    return DeviceError(
        "integer products do not agree with the simulation", source.name(),
        absl::StrFormat("losses %.6f and %.6f differ by more than %.6f, or those of batches by "
                        "%.6f on average, more than %.6f",
                        all.integer.loss, all.simulated.loss, all.agreement.tolerance,
                        all.agreement.batch_difference, all.agreement.batch_tolerance));
  }
  return all;
}

}  // namespace sluice
