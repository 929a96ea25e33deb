#include "telemetry/run_record.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/status.h"

namespace sluice {
namespace {

int64_t StepOf(const MetricFields& fields) {
  for (const auto& [name, value] : fields) {
    if (name == "step") return std::get<int64_t>(value);
  }
  CHECK(false) << "a record without a step";
  return 0;
}

}  // namespace

std::vector<EventScalar> EventScalars(absl::string_view event, const MetricFields& fields) {
  std::string prefix = absl::StrCat(event, "/");
  for (const auto& [name, value] : fields) {
    if (name == "data") absl::StrAppend(&prefix, std::get<std::string>(value), "/");
  }
  std::vector<EventScalar> scalars;
  for (const auto& [name, value] : fields) {
    if (name == "step") continue;
    if (const auto* number = std::get_if<double>(&value); number != nullptr) {
      scalars.push_back({prefix + name, *number});
    } else if (const auto* integer = std::get_if<int64_t>(&value); integer != nullptr) {
      scalars.push_back({prefix + name, static_cast<double>(*integer)});
    } else if (const auto* numbers = std::get_if<std::vector<double>>(&value); numbers != nullptr) {
      for (size_t head = 0; head < numbers->size(); ++head) {
        scalars.push_back({absl::StrFormat("%s%s/%02d", prefix, name, head), (*numbers)[head]});
      }
    }
  }
  return scalars;
}

std::vector<EventHistogram> EventHistograms(const GateStatistics& gates) {
  std::vector<EventHistogram> histograms;
  if (gates.empty()) return histograms;
  for (int64_t layer = 0; layer < gates.layers; ++layer) {
    for (int64_t head = 0; head < gates.heads; ++head) {
      const GateCell& cell = gates.cell(layer, head);
      if (cell.count == 0) continue;  // of a layer without gates
      const auto count = static_cast<double>(cell.count);
      EventHistogram histogram = {.tag = absl::StrFormat("gates/layer_%02d/head_%02d", layer, head),
                                  .minimum = cell.minimum,
                                  .maximum = cell.maximum,
                                  .count = count,
                                  .sum = cell.mean * count,
                                  .sum_of_squares = (cell.variance + cell.mean * cell.mean) * count,
                                  .bounds = {},
                                  .counts = {}};
      for (int bin = 0; bin < kGateHistogramBins; ++bin) {
        histogram.bounds.push_back((bin + 1.0) / kGateHistogramBins);
        histogram.counts.push_back(static_cast<double>(cell.histogram[bin]));
      }
      histograms.push_back(std::move(histogram));
    }
  }
  return histograms;
}

absl::Status RunRecord::Open(const Place& place) {
  RETURN_IF_ERROR(metrics_.Open(place.run_folder + "/metrics.jsonl", place.resumed_step));
  if (!place.tensorboard) return absl::OkStatus();
  return events_.Open(place.run_folder + "/tensorboard", place.resumed_step);
}

absl::Status RunRecord::Write(absl::string_view event, const MetricFields& fields) {
  RETURN_IF_ERROR(metrics_.Write(event, fields));
  if (!events_.open()) return absl::OkStatus();
  return events_.Write(StepOf(fields), EventScalars(event, fields));
}

absl::Status RunRecord::WriteGates(int64_t step, const GateStatistics& gates) {
  if (!events_.open()) return absl::OkStatus();
  return events_.Write(step, {}, EventHistograms(gates));
}

}  // namespace sluice
