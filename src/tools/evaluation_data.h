// The data that a checkpoint is evaluated on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "train/load_model.h"

namespace sluice {

// Further words: data.key=value, LoadModelOptions::data_overrides.
void AddDataOverrides(CLI::App& command, std::vector<std::string>& overrides);

// What `path` names, or where it is empty the run's own validation data. UsageError when there is
// none, DataError or CheckpointError where model and data do not fit.
absl::StatusOr<std::vector<std::unique_ptr<BatchSource>>> OpenEvaluationData(
    const LoadedModel& model, const std::string& path);

}  // namespace sluice
