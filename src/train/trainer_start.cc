// Where a run begins: what it goes on from, and its folder.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/verify.h"
#include "comm/agree.h"
#include "config/dump.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data/content_hash.h"
#include "train/initial_weights.h"
#include "train/trainer.h"

namespace sluice {

namespace {

// What a rank other than 0 says that finds something else where rank 0 has found a beginning.
constexpr char kOtherFiles[] =
    "this rank does not see what rank 0 begins from (is it on a file system that all machines "
    "share?)";

}  // namespace

// Rank 0 looks, since ranks that look by themselves may find different ones: a stale directory, or
// a file that cannot be read, on one machine.
absl::StatusOr<Trainer::Start> Trainer::FindStart() const {
  const bool looks = comm_.rank() == 0;
  Start start;
  ASSIGN_OR_RETURN(
      start.checkpoint,
      TextOfRankZero(comm_,
                     looks ? FindCheckpointToResume(options_.resume, folder_.checkpoints()) : ""));
  const std::string& weights = config_.training.initial_weights;
  if (!start.checkpoint.empty() || weights.empty()) return start;
  ASSIGN_OR_RETURN(start.weights, TextOfRankZero(comm_, looks ? FindInitialWeights(weights) : ""));
  return start;
}

absl::Status Trainer::CheckStart(const Start& start) const {
  const std::string& from = start.checkpoint.empty() ? start.weights : start.checkpoint;
  if (from.empty()) return absl::OkStatus();
  // Rank 0 has verified what it has found.
  std::error_code error;
  if (comm_.rank() != 0 && !std::filesystem::exists(from, error)) {
    return CheckpointError(kOtherFiles, from, "it is not there");
  }
  if (start.checkpoint.empty()) {
    return CheckInitialWeights(from, config_, train_data_->tokenizer());
  }
  if (comm_.rank() != 0) {
    const absl::Status whole = VerifyCheckpoint(from);
    if (!whole.ok()) return CheckpointError(kOtherFiles, from, std::string(whole.message()));
  }
  RETURN_IF_ERROR(CheckMayResume(from, config_, train_data_->tokenizer()));
  ASSIGN_OR_RETURN(const CheckpointState saved, ReadCheckpointState(from));
  return CheckSameText(from, saved, *train_data_);
}

absl::Status Trainer::CompareWithRankZero(const Start& start, const std::string& read) const {
  ASSIGN_OR_RETURN(const std::string of_rank_0, TextOfRankZero(comm_, read));
  return comm_.Agree(
      read == of_rank_0
          ? absl::OkStatus()
          : CheckpointError(kOtherFiles,
                            start.checkpoint.empty() ? start.weights : start.checkpoint,
                            absl::StrCat(read, " vs. ", of_rank_0)));
}

absl::StatusOr<std::string> Trainer::DescribeStart() const {
  ASSIGN_OR_RETURN(const Start start, FindStart());
  RETURN_IF_ERROR(comm_.Agree(CheckStart(start)));
  if (!start.checkpoint.empty()) return absl::StrCat("start: goes on from ", start.checkpoint);
  if (start.weights.empty()) return "start: a new run";
  return absl::StrCat("start: a new run, weights from ", start.weights);
}

absl::Status Trainer::Resume() {
  ASSIGN_OR_RETURN(const Start start, FindStart());
  if (start.checkpoint.empty() && start.weights.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> read = ReadStart(start);
  RETURN_IF_ERROR(comm_.Agree(read.status()));
  return CompareWithRankZero(start, *read);
}

// Says what was read, in words that are the same where that is.
absl::StatusOr<std::string> Trainer::ReadStart(const Start& start) {
  RETURN_IF_ERROR(CheckStart(start));
  if (start.checkpoint.empty()) {
    ASSIGN_OR_RETURN(
        const InitialWeights weights,
        ReadInitialWeights(start.weights, config_, train_data_->tokenizer(), *engine_));
    initial_weights_ = DescribeInitialWeights(weights);
    return absl::StrCat("weights with xxh3 ", Xxh3Text(weights.xxh3));
  }
  const std::string& from = start.checkpoint;
  ASSIGN_OR_RETURN(state_, LoadTraining(from, config_, train_data_->tokenizer(),
                                        state_.best_metric_data, *engine_));
  state_.generated_text = GeneratedText(*train_data_);
  ASSIGN_OR_RETURN(const TelemetryState telemetry, ReadCheckpointTelemetry(from));
  telemetry_->Restore(telemetry);
  saved_step_ = state_.step;
  resumed_from_ = from;
  LogInfo(absl::StrFormat("resuming from %s: step %d, next sample %d", from, state_.step,
                          state_.next_sample));
  ASSIGN_OR_RETURN(const std::string manifest, IdentifyCheckpoint(from));
  return absl::StrFormat("step %d, next sample %d, manifest with xxh3 %s", state_.step,
                         state_.next_sample, manifest);
}

absl::Status Trainer::OpenFolder() {
  // A new run measures step 0 itself.
  const int64_t kept_step = resumed_from_.empty() ? -1 : state_.step;
  RETURN_IF_ERROR(folder_.Open(DumpRunConfig(config_), kept_step, config_.telemetry.tensorboard));
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
  if (!aside.steps.empty()) {
    LogWarning(absl::StrFormat(
        "this run begins at step %d; the checkpoints of steps %s that the folder had already are "
        "not deleted but moved to %s",
        state_.step, absl::StrJoin(aside.steps, ", "), aside.folder));
  }
  // What was the best when this step was written is so again: with a later one its mark has gone,
  // or the run was killed between this checkpoint and its mark.
  ASSIGN_OR_RETURN(const std::optional<BestCheckpoint> marked, ReadBestCheckpoint(checkpoints));
  const bool was_best = goes_on_here && state_.best_step.has_value() &&
                        std::filesystem::exists(folder_.checkpoint(*state_.best_step), error);
  const bool is_marked = marked.has_value() && was_best && marked->step == *state_.best_step;
  if (!was_best || is_marked || config_.checkpoint.keep_best == "none") return absl::OkStatus();
  return MarkBestCheckpoint(
      checkpoints, {*state_.best_step, MetricName(config_.checkpoint), *state_.best_metric});
}

}  // namespace sluice
