#include "telemetry/run_record.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/log.h"
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

std::string MapFileName(int64_t step) { return absl::StrFormat("step_%08d.json", step); }

// What runs that went further have left, and what a killed one has half written.
absl::Status RemoveLaterMaps(const std::string& folder, int64_t last_step) {
  std::error_code error;
  std::vector<std::filesystem::path> later;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    const size_t digits = name.find('.') == std::string::npos ? 0 : name.find('.');
    if (digits < 5 || !absl::SimpleAtoi(name.substr(5, digits - 5), &step)) continue;
    if (name == MapFileName(step) + ".part" || (name == MapFileName(step) && step > last_step)) {
      later.push_back(entry.path());
    }
  }
  for (const std::filesystem::path& path : later) {
    std::filesystem::remove(path, error);
    if (error)
      return DeviceError("cannot remove a later step's maps", path.string(), error.message());
  }
  return absl::OkStatus();
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

std::vector<EventImage> EventImages(const std::vector<SequenceMaps>& maps) {
  std::vector<EventImage> images;
  for (size_t sequence = 0; sequence < maps.size(); ++sequence) {
    for (size_t layer = 0; layer < maps[sequence].layers.size(); ++layer) {
      const std::vector<AttentionMap>& heads = maps[sequence].layers[layer];
      for (size_t head = 0; head < heads.size(); ++head) {
        const Image image = DrawMap(heads[head]);
        images.push_back({.tag = absl::StrFormat("attention/layer_%02d/head_%02d/sequence_%d",
                                                 layer, head, maps[sequence].index),
                          .width = image.width,
                          .height = image.height,
                          .png = EncodePng(image)});
      }
    }
  }
  return images;
}

absl::Status RunRecord::Open(const Place& place) {
  map_folder_ = place.run_folder + "/attention_maps";
  RETURN_IF_ERROR(RemoveLaterMaps(map_folder_, place.resumed_step));
  RETURN_IF_ERROR(metrics_.Open(place.run_folder + "/metrics.jsonl", place.resumed_step));
  if (!place.tensorboard) return absl::OkStatus();
  return events_.Open(place.run_folder + "/tensorboard", place.resumed_step);
}

absl::Status RunRecord::Write(absl::string_view event, const MetricFields& fields) {
  RETURN_IF_ERROR(metrics_.Write(event, fields));
  for (const AlarmNotice& notice : alarms_.Look(event, fields)) {
    LogWarning(AlarmText(StepOf(fields), notice));
    RETURN_IF_ERROR(
        metrics_.Write(notice.over ? "alarm_over" : "alarm", AlarmFields(StepOf(fields), notice)));
  }
  if (!events_.open()) return absl::OkStatus();
  return events_.Write(StepOf(fields), EventScalars(event, fields));
}

absl::Status RunRecord::WriteGates(int64_t step, const GateStatistics& gates) {
  if (!events_.open()) return absl::OkStatus();
  return events_.Write(step, {}, EventHistograms(gates));
}

absl::Status RunRecord::WriteAttentionMaps(int64_t step, const std::vector<SequenceMaps>& maps) {
  std::error_code error;
  std::filesystem::create_directories(map_folder_, error);
  if (error) return DeviceError("cannot create a folder", map_folder_, error.message());
  const std::string path = absl::StrCat(map_folder_, "/", MapFileName(step));
  const std::string part = path + ".part";
  std::ofstream out(part, std::ios::trunc);
  out << AttentionMapsToJson(step, maps) << "\n";
  out.close();
  if (!out) return DeviceError("cannot write attention maps (is the disk full?)", part);
  std::filesystem::rename(part, path, error);
  if (error) return DeviceError("cannot write attention maps", path, error.message());
  if (!events_.open()) return absl::OkStatus();
  return events_.Write(step, {}, {}, EventImages(maps));
}

}  // namespace sluice
