#include "telemetry/metric_writer.h"

#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

// Lines of `path` up to and including `last_step`; a torn last line is dropped.
absl::StatusOr<std::string> KeptLines(const std::string& path, int64_t last_step) {
  std::ifstream old(path);
  std::string kept;
  for (std::string line; std::getline(old, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded() || !json.is_object()) continue;
    const auto step = json.find("step");
    if (step == json.end() || !step->is_number() || step->get<double>() > last_step) continue;
    kept += line + "\n";
  }
  // What could not be read must not be replaced by what could.
  if (!old.is_open() || old.bad()) return DeviceError("cannot read metrics", path);
  return kept;
}

// JSON has no NaN or infinity.
nlohmann::ordered_json ToJson(double number) {
  if (std::isfinite(number)) return number;
  return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}
nlohmann::ordered_json ToJson(int64_t number) { return number; }
nlohmann::ordered_json ToJson(const std::string& text) { return text; }
nlohmann::ordered_json ToJson(const std::vector<double>& numbers) {
  auto json = nlohmann::ordered_json::array();
  for (const double number : numbers) json.push_back(ToJson(number));
  return json;
}

}  // namespace

absl::Status MetricWriter::Open(const std::string& path, int64_t resumed_step) {
  path_ = path;
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    ASSIGN_OR_RETURN(const std::string kept, KeptLines(path, resumed_step));
    const std::string part = path + ".part";
    std::ofstream rewritten(part, std::ios::trunc);
    rewritten << kept;
    rewritten.close();
    if (!rewritten) return DeviceError("cannot write metrics", part);
    std::filesystem::rename(part, path, error);
    if (error) return DeviceError("cannot write metrics", path, error.message());
  }
  stream_.open(path, std::ios::app);
  if (!stream_) return DeviceError("cannot write metrics", path);
  return absl::OkStatus();
}

absl::Status MetricWriter::Write(absl::string_view event, const MetricFields& fields) {
  nlohmann::ordered_json json;
  json["event"] = std::string(event);
  for (const auto& [name, value] : fields) {
    json[name] = std::visit([](const auto& held) { return ToJson(held); }, value);
  }
  stream_ << JsonText(json) << std::endl;
  if (!stream_) return DeviceError("cannot write metrics (is the disk full?)", path_);
  return absl::OkStatus();
}

}  // namespace sluice
