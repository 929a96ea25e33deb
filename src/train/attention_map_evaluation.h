// Attention maps of the first sequences of a data set: the same ones whenever it is asked, so that
// maps of a run can be compared.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "data/batch_source.h"
#include "telemetry/attention_maps.h"
#include "train/engine.h"

namespace sluice {

// Forward without dropout, of `sequences` sequences or as many as there are. One rank does it; not
// collective. Tokens' texts are of the data's vocabulary, or ids where it has none that can be
// read.
absl::StatusOr<std::vector<SequenceMaps>> EvaluateAttentionMaps(Engine& engine, BatchSource& source,
                                                                int64_t sequences);

}  // namespace sluice
