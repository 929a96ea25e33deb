// A model of clipped softmax apart from the length that it was trained at.
#pragma once

#include "config/run_config.h"

namespace sluice {

// Makes of alpha the gamma that it means, -alpha / data.sequence_length, so that the model stays
// the same function at another length. Other models stay as they are.
void FixClippedSoftmaxGamma(RunConfig& config);

}  // namespace sluice
