// The batch sources that a run's configuration asks for (data.source), behind their interface.
//
//   ASSIGN_OR_RETURN(auto source, OpenTrainingSource(config));
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch_source.h"

namespace sluice {

// Order, masks and generated samples follow config.training.seed. UsageError for settings that
// contradict each other, DataError for files that are missing or wrong.
absl::StatusOr<std::unique_ptr<BatchSource>> OpenTrainingSource(const RunConfig& config);

// Each of data.validation, or the one generated set; may be none. The same samples, masks and order
// whatever the seed.
absl::StatusOr<std::vector<std::unique_ptr<BatchSource>>> OpenValidationSources(
    const RunConfig& config);

// Other data of the same kind, to evaluate on. UsageError when the kind is generated and has no
// paths.
absl::StatusOr<std::unique_ptr<BatchSource>> OpenEvaluationSource(const RunConfig& config,
                                                                  const std::string& path);

}  // namespace sluice
