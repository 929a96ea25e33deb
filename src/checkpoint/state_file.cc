#include "checkpoint/state_file.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/yaml_fields.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {

std::string StateToYaml(const CheckpointState& state) {
  std::string text = absl::StrCat(
      "format_version: ", kCheckpointFormatVersion, "\nstep: ", state.step,
      "\nnext_sample: ", state.next_sample, "\nepoch: ", state.epoch, "\nseed: ", state.seed,
      "\nloss_scale: ", YamlReal(state.loss_scale), "\nworld_size: ", state.world_size, "\n");
  if (state.best_metric)
    absl::StrAppend(&text, "best_metric: ", YamlReal(*state.best_metric), "\n");
  if (state.best_step) absl::StrAppend(&text, "best_step: ", *state.best_step, "\n");
  absl::StrAppend(&text, "sluice_version: ", YamlQuoted(state.sluice_version), "\n");
  if (state.imported_from) {
    absl::StrAppend(&text, "imported_from: ", YamlQuoted(*state.imported_from), "\n");
  }
  absl::StrAppend(&text, "counters:", state.counters.empty() ? " {}" : "", "\n");
  for (const auto& [name, value] : state.counters) {
    absl::StrAppend(&text, "  ", YamlQuoted(name), ": ", value, "\n");
  }
  return text;
}

absl::StatusOr<CheckpointState> StateFromYaml(const std::string& text, const std::string& where) {
  ASSIGN_OR_RETURN(YamlFields fields, YamlFields::Parse(text, where));
  int64_t version = 0;
  RETURN_IF_ERROR(fields.Read("format_version", version));
  if (version != kCheckpointFormatVersion) {
    return CheckpointError(
        "unknown format version", where,
        absl::StrCat(version, ", this program reads ", kCheckpointFormatVersion));
  }
  CheckpointState state;
  RETURN_IF_ERROR(fields.Read("step", state.step));
  RETURN_IF_ERROR(fields.Read("next_sample", state.next_sample));
  RETURN_IF_ERROR(fields.Read("epoch", state.epoch));
  RETURN_IF_ERROR(fields.Read("seed", state.seed));
  RETURN_IF_ERROR(fields.Read("loss_scale", state.loss_scale));
  RETURN_IF_ERROR(fields.Read("world_size", state.world_size));
  if (fields.Has("best_metric")) {
    RETURN_IF_ERROR(fields.Read("best_metric", state.best_metric.emplace()));
  }
  if (fields.Has("best_step")) RETURN_IF_ERROR(fields.Read("best_step", state.best_step.emplace()));
  RETURN_IF_ERROR(fields.Read("sluice_version", state.sluice_version));
  if (fields.Has("imported_from")) {
    RETURN_IF_ERROR(fields.Read("imported_from", state.imported_from.emplace()));
  }
  RETURN_IF_ERROR(fields.Read("counters", state.counters));
  RETURN_IF_ERROR(fields.ExpectNoOthers());
  if (state.step < 0 || state.next_sample < 0 || state.epoch < 0 || state.world_size < 1) {
    return CheckpointError(
        "a value is out of range", where,
        absl::StrCat("step ", state.step, ", next_sample ", state.next_sample, ", epoch ",
                     state.epoch, ", world_size ", state.world_size));
  }
  return state;
}

}  // namespace sluice::checkpoint_internal
