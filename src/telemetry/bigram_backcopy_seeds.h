// The verdicts of telemetry/bigram_backcopy_check.h that are of all seeds of several arms together:
// T12, and the orders that the paper tells.
#pragma once

#include <vector>

#include "telemetry/bigram_backcopy_check.h"

namespace sluice {

// Appends to `verdicts`, for each batch, width and length among the runs, what its arms allow to
// say.
void JudgeSeeds(const std::vector<SinkRun>& runs, std::vector<Verdict>* verdicts);

}  // namespace sluice
