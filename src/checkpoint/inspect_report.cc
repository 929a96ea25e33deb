#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/inspect.h"
#include "core/json_text.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::string StateText(const CheckpointSummary& summary) {
  const CheckpointState& state = summary.state;
  std::string text =
      absl::StrFormat("%-16s%s\n%-16s%d\n", "checkpoint", summary.folder, "step", state.step);
  absl::StrAppendFormat(&text, "%-16snext sample %d, epoch %d\n", "data position",
                        state.next_sample, state.epoch);
  absl::StrAppendFormat(&text, "%-16s%d\n", "seed", state.seed);
  if (state.loss_scale != 1)
    absl::StrAppendFormat(&text, "%-16s%g\n", "loss scale", state.loss_scale);
  absl::StrAppendFormat(&text, "%-16s%d rank%s, sluice %s\n", "written by", state.world_size,
                        state.world_size == 1 ? "" : "s", state.sluice_version);
  if (state.best_metric) {
    absl::StrAppendFormat(&text, "%-16s%.6g%s\n", "best metric", *state.best_metric,
                          state.best_step ? absl::StrCat(" at step ", *state.best_step) : "");
  }
  if (state.imported_from) {
    absl::StrAppendFormat(&text, "%-16s%s\n", "imported from", *state.imported_from);
  }
  for (const auto& [name, value] : state.counters) {
    absl::StrAppendFormat(&text, "%-16s%d\n", name, value);
  }
  absl::StrAppendFormat(&text, "%-16s%.1f MiB\n", "on disk",
                        static_cast<double>(summary.bytes_on_disk) / (1 << 20));
  return text;
}

std::string GatesText(const GateStatistics& gates) {
  if (gates.empty()) return "";
  return absl::StrFormat("%-16s%d layers of %d heads, mean %.4f over %d micro-batches\n", "gates",
                         gates.layers, gates.heads, gates.OverallMean(), gates.batches);
}

std::string AttentionText(const AttentionStatistics& attention) {
  if (attention.empty()) return "";
  return absl::StrFormat("%-16s%d layers of %d heads, %d statistics over %d sequences\n",
                         "attention", attention.layers, attention.heads, attention.names.size(),
                         attention.sequences);
}

// Keeps the end of a long name: that is where names differ.
std::string Shortened(const std::string& name, size_t width) {
  if (name.size() <= width) return name;
  return absl::StrCat("…", name.substr(name.size() - (width - 1)));
}

std::string TensorTable(const CheckpointSummary& summary) {
  std::string text = absl::StrFormat("\n%-56s %-14s %8s %8s %8s\n", "tensor", "shape", "L2 norm",
                                     "mean", "max |x|");
  for (const TensorSummary& tensor : summary.model) {
    const std::string name = Shortened(tensor.name, 56);
    const size_t columns = name.size() - (name == tensor.name ? 0 : 2);  // … is three bytes
    absl::StrAppendFormat(&text, "%s%s %-14s %8.3g %8.1g %8.3g\n", name,
                          std::string(56 - columns, ' '),
                          absl::StrCat("(", absl::StrJoin(tensor.dims, ", "), ")"), tensor.l2_norm,
                          tensor.mean, tensor.largest_absolute);
  }
  absl::StrAppendFormat(&text, "%d parameters in %d tensors, L2 norm %.6g; %d optimizer tensors\n",
                        summary.parameter_count, summary.model.size(), summary.parameter_norm,
                        summary.optimizer_tensors);
  return text;
}

// JSON has no NaN or infinity.
Json Number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

Json StateJson(const CheckpointState& state) {
  Json json = {{"step", state.step},
               {"next_sample", state.next_sample},
               {"epoch", state.epoch},
               {"seed", state.seed},
               {"loss_scale", Number(state.loss_scale)},
               {"world_size", state.world_size},
               {"sluice_version", state.sluice_version},
               {"counters", Json::object()}};
  if (state.best_metric) json["best_metric"] = Number(*state.best_metric);
  if (state.best_step) json["best_step"] = *state.best_step;
  if (state.imported_from) json["imported_from"] = *state.imported_from;
  for (const auto& [name, value] : state.counters) json["counters"][name] = value;
  return json;
}

Json GatesJson(const GateStatistics& gates) {
  if (gates.empty()) return nullptr;
  return {{"layers", gates.layers},
          {"heads", gates.heads},
          {"mean", Number(gates.OverallMean())},
          {"batches", gates.batches},
          {"rejected", gates.rejected}};
}

Json AttentionJson(const AttentionStatistics& attention) {
  if (attention.empty()) return nullptr;
  return {{"layers", attention.layers},
          {"heads", attention.heads},
          {"looks", attention.looks},
          {"sequences", attention.sequences},
          {"statistics", attention.names}};
}

}  // namespace

std::string InspectText(const CheckpointSummary& summary) {
  std::string text =
      absl::StrCat(StateText(summary), GatesText(summary.gates), AttentionText(summary.attention));
  for (const auto& [key, value] : summary.config) {
    if (absl::StartsWith(key, "model.")) absl::StrAppend(&text, "  ", key, ": ", value, "\n");
  }
  return absl::StrCat(text, TensorTable(summary));
}

std::string InspectJson(const CheckpointSummary& summary) {
  Json json = {{"folder", summary.folder},
               {"state", StateJson(summary.state)},
               {"config", Json::object()},
               {"parameter_count", summary.parameter_count},
               {"parameter_norm", Number(summary.parameter_norm)},
               {"optimizer_tensors", summary.optimizer_tensors},
               {"bytes_on_disk", summary.bytes_on_disk},
               {"gates", GatesJson(summary.gates)},
               {"attention", AttentionJson(summary.attention)},
               {"tensors", Json::array()}};
  for (const auto& [key, value] : summary.config) json["config"][key] = value;
  for (const TensorSummary& tensor : summary.model) {
    json["tensors"].push_back({{"name", tensor.name},
                               {"shape", tensor.dims},
                               {"l2_norm", Number(tensor.l2_norm)},
                               {"mean", Number(tensor.mean)},
                               {"largest_absolute", Number(tensor.largest_absolute)}});
  }
  return absl::StrCat(JsonText(json, 2), "\n");
}

}  // namespace sluice
