#include "telemetry/outlier_report.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace sluice {

std::string FormatOutliers(const std::vector<TensorOutliers>& tensors, bool pre_norm) {
  std::string text;
  for (const NamedOutlierMetric& metric : NamedOutlierMetrics(tensors, pre_norm)) {
    absl::StrAppendFormat(&text, "  %12.3f  %s  (%s)\n", metric.value, metric.known_as,
                          metric.name);
  }
  return text;
}

nlohmann::ordered_json OutliersToJson(const std::vector<TensorOutliers>& tensors, bool pre_norm) {
  nlohmann::ordered_json metrics = nlohmann::ordered_json::object();
  for (const NamedOutlierMetric& metric : NamedOutlierMetrics(tensors, pre_norm)) {
    metrics[metric.name] = metric.value;
  }
  int64_t layers = 0;
  for (const TensorOutliers& tensor : tensors) layers = std::max<int64_t>(layers, tensor.layer + 1);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const auto rows = [](const RowOutliers& outliers) {
    return nlohmann::ordered_json{{"inf_norm", outliers.inf_norm}, {"kurtosis", outliers.kurtosis}};
  };
  for (const TensorOutliers& tensor : tensors) {
    list.push_back(
        {{"layer", tensor.layer},
         {"tensor", tensor.tensor},
         {"huggingface",
          FindPublishedTensor(tensor.layer, tensor.tensor, layers, pre_norm).huggingface_name},
         {"per_sequence", rows(tensor.sequence)},
         {"per_token", rows(tensor.token)},
         {"top_channel_share", tensor.top_channel_share}});
  }
  return {{"metrics", metrics}, {"tensors", list}};
}

}  // namespace sluice
