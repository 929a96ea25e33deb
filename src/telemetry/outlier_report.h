// Outlier metrics for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "telemetry/outlier_metrics.h"

namespace sluice {

// One line a named metric: value, what papers call it, our name.
std::string FormatOutliers(const std::vector<TensorOutliers>& tensors, bool pre_norm);

// {"metrics": {name: value, …}, "tensors": [{layer, tensor, huggingface, per_sequence, per_token,
// top_channel_share}, …]}
nlohmann::ordered_json OutliersToJson(const std::vector<TensorOutliers>& tensors, bool pre_norm);

}  // namespace sluice
