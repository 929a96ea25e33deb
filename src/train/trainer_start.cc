// Where a run begins: what it goes on from, and its folder.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "train/initial_weights.h"
#include "train/trainer.h"

namespace sluice {

absl::StatusOr<std::string> Trainer::DescribeStart() const {
  ASSIGN_OR_RETURN(const std::string from,
                   FindCheckpointToResume(options_.resume, folder_.checkpoints()));
  if (!from.empty()) {
    RETURN_IF_ERROR(CheckMayResume(from, config_, train_data_->tokenizer()));
    return absl::StrCat("start: goes on from ", from);
  }
  if (config_.training.initial_weights.empty()) return "start: a new run";
  ASSIGN_OR_RETURN(const std::string weights,
                   CheckInitialWeights(config_, train_data_->tokenizer()));
  return absl::StrCat("start: a new run, weights from ", weights);
}

absl::Status Trainer::Resume() {
  ASSIGN_OR_RETURN(const std::string from,
                   FindCheckpointToResume(options_.resume, folder_.checkpoints()));
  if (from.empty()) {
    if (config_.training.initial_weights.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const InitialWeights weights,
                     ReadInitialWeights(config_, train_data_->tokenizer(), *engine_));
    initial_weights_ = DescribeInitialWeights(weights);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(state_, LoadTraining(from, config_, train_data_->tokenizer(), *engine_));
  ASSIGN_OR_RETURN(const TelemetryState telemetry, ReadCheckpointTelemetry(from));
  telemetry_->Restore(telemetry);
  saved_step_ = state_.step;
  resumed_from_ = from;
  LogInfo(absl::StrFormat("resuming from %s: step %d, next sample %d", from, state_.step,
                          state_.next_sample));
  return absl::OkStatus();
}

absl::Status Trainer::OpenFolder() {
  RETURN_IF_ERROR(folder_.Open(DumpRunConfig(config_), state_.step, config_.telemetry.tensorboard));
  Alarms alarms(config_.telemetry.alarms);
  alarms.Restore(state_.active_alarms);
  folder_.record().SetAlarms(std::move(alarms));
  RETURN_IF_ERROR(SetLaterCheckpointsAside());
  ASSIGN_OR_RETURN(const auto removed, RemoveAbandonedFolders(folder_.checkpoints()));
  for (const std::string& name : removed)
    LogInfo(absl::StrCat("removed what a killed run left: ", name));
  return absl::OkStatus();
}

// A run that begins before what its folder holds (--resume none, or an older step) takes the place
// of what came later, whose metrics and maps are cut; checkpoints are moved instead of deleted.
absl::Status Trainer::SetLaterCheckpointsAside() {
  const std::string checkpoints = folder_.checkpoints();
  std::error_code error;  // a folder that is not there is no other
  const bool goes_on_here =
      !resumed_from_.empty() &&
      std::filesystem::equivalent(resumed_from_, folder_.checkpoint(state_.step), error);
  ASSIGN_OR_RETURN(const SetAside aside,
                   SetAsideCheckpoints(checkpoints, goes_on_here ? state_.step + 1 : state_.step));
  if (aside.steps.empty()) return absl::OkStatus();
  LogWarning(absl::StrFormat(
      "this run begins at step %d; the checkpoints of steps %s that the folder had already are not "
      "deleted but moved to %s",
      state_.step, absl::StrJoin(aside.steps, ", "), aside.folder));
  // With a later one its mark has gone: what was the best when this step was written is so again.
  ASSIGN_OR_RETURN(const std::optional<BestCheckpoint> marked, ReadBestCheckpoint(checkpoints));
  const bool was_best = goes_on_here && state_.best_step.has_value() &&
                        std::filesystem::exists(folder_.checkpoint(*state_.best_step), error);
  if (marked.has_value() || !was_best || config_.checkpoint.keep_best == "none") {
    return absl::OkStatus();
  }
  return MarkBestCheckpoint(
      checkpoints, {*state_.best_step, MetricName(config_.checkpoint), *state_.best_metric});
}

}  // namespace sluice
