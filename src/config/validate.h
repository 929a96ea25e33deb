// Rules between keys, and every key's range.
//
//   RETURN_IF_ERROR(ValidateRunConfig(config));
//   RETURN_IF_ERROR(ValidateWorldSize(config, communicator.size()));
//
// LoadRunConfig has already done the first; a config that was changed in code needs it.
#pragma once

#include "absl/status/status.h"
#include "config/load.h"
#include "config/problems.h"
#include "config/provenance.h"
#include "config/run_config.h"

namespace sluice {

// All problems at once, as a UsageError that names each key and its value.
absl::Status ValidateRunConfig(const RunConfig& config, ConfigUse use = ConfigUse::kTraining);

// Whether `world_size` ranks can share an update evenly: training.global_batch_size is a multiple
// of world_size * training.gradient_accumulation_steps. The error names the nearest sizes that are.
absl::Status ValidateWorldSize(const RunConfig& config, int world_size);

// The same rules for a config that knows where its keys were set; also finds keys that were set but
// would be ignored. Rules about keys that `provenance` calls unusable are left out.
void FindProblems(const RunConfig& config, const Provenance& provenance, ConfigUse use,
                  Problems* problems);

}  // namespace sluice
