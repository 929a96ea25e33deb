// Attention maps of a few sequences of a data set: the same ones whenever it is asked, so that maps
// of a run can be compared.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "data/batch_source.h"
#include "telemetry/attention_maps.h"
#include "train/engine.h"

namespace sluice {

// What maps are drawn of, in ascending order: telemetry.attention_map_indices, or so many of the
// first sequences as are asked for and there. UsageError where `source` has no sequence of an
// index.
absl::StatusOr<std::vector<int64_t>> MapIndices(const TelemetryConfig& telemetry,
                                                const BatchSource& source);

// Forward without dropout, of their first `most_tokens` tokens. One rank does it; not collective.
// Tokens' texts are of the data's vocabulary, or ids where it has none that can be read.
absl::StatusOr<std::vector<SequenceMaps>> EvaluateAttentionMaps(Engine& engine, BatchSource& source,
                                                                std::span<const int64_t> indices,
                                                                int64_t most_tokens);

}  // namespace sluice
