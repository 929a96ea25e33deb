// The training loop of one rank.
//
//   ASSIGN_OR_RETURN(auto trainer, Trainer::Create(options, communicator));
//   RETURN_IF_ERROR(trainer->Run());
//
// Every rank runs the same loop on its own rows of the same global batch. Losses and gradients are
// summed over targets and divided once an update by the count over all ranks and micro-batches, so
// results do not depend on how a batch is split (docs/decisions/0001).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/gradient_buckets.h"
#include "config/run_config.h"
#include "data/batch_source.h"
#include "data/prefetcher.h"
#include "train/dry_run.h"
#include "train/engine.h"
#include "train/evaluation.h"
#include "train/quantization_probe.h"
#include "train/resume.h"
#include "train/run_folder.h"
#include "train/run_telemetry.h"
#include "train/step_report.h"
#include "train/stop_signal.h"
#include "train/update_telemetry.h"

namespace sluice {

struct TrainOptions {
  RunConfig config;
  std::string run_folder;       // empty: runs/NAME
  std::string resume = "auto";  // auto (the newest checkpoint of the run folder, if any), none, or
                                // a checkpoint's folder
};

class Trainer {
 public:
  // Opens and checks the data, plans the model. Collective: fails on every rank when it fails on
  // one.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const TrainOptions& options,
                                                         Communicator& communicator);

  // What --dry-run prints. Nothing has been allocated or written:
  std::string Describe() const;
  // what Run would begin from, checked as Run does, but without reading tensors; collective.
  absl::StatusOr<std::string> DescribeStart() const;

  // Allocates, resumes, trains to config.training.steps, evaluates, writes checkpoints.
  // StoppedOnRequest when a signal ended it early, with a checkpoint written.
  absl::Status Run();

  // One update, from loading to recording. Public for tests, which call Prepare first.
  absl::Status Prepare();
  absl::Status Step();

  // Whether this rank failed at a point where the others could not be told: they wait for it, so
  // its process must end them (AbortAllRanks). Every other error is returned by all ranks alike.
  bool failed_alone() const { return failed_alone_; }

  Engine& engine() { return *engine_; }
  int64_t step() const { return state_.step; }
  const StepReport& last_report() const { return report_; }

 private:
  Trainer(const TrainOptions& options, Communicator& communicator);

  // Set-up.
  absl::Status OpenData();
  absl::Status PlanEngine();
  struct Start {
    std::string checkpoint;  // to go on from; empty: a new run
    std::string weights;     // what a new run starts from; empty: all are drawn
  };
  absl::StatusOr<Start> FindStart() const;  // collective
  absl::Status CheckStart(const Start& start) const;
  absl::StatusOr<std::string> ReadStart(const Start& start);
  absl::Status CompareWithRankZero(const Start& start, const std::string& read) const;
  absl::Status Resume();  // collective
  absl::Status OpenFolder();
  absl::Status SetLaterCheckpointsAside();
  void StartPrefetcher();
  absl::Status MeasureMatmulRate();
  void LogStart() const;

  // Parts of a step.
  absl::Status RunMicroBatches();
  absl::Status ForwardBackward(const Batch& batch, int64_t part);
  absl::Status FinishSums(ModelLosses* losses);
  absl::Status Reduce();
  absl::Status ApplyUpdate();
  absl::Status NotApplied(const UpdateOutcome& outcome) const;
  absl::Status RecordLooks();
  absl::Status Record();
  // Returns `status`; an error is one that the other ranks do not hear of.
  absl::Status FailAlone(const absl::Status& status);

  // Between steps.
  absl::Status EvaluateAndSave(absl::Status looked);
  absl::Status EvaluateAll();
  absl::Status RecordEvaluation(const std::string& data, const EvaluationResult& result);
  absl::Status MeasureSinks();
  absl::Status ProbeQuantization();
  absl::Status DrawAttentionMaps();
  absl::Status Save(bool delete_old);
  bool due(int64_t every) const { return every > 0 && state_.step % every == 0; }
  bool at_end() const { return state_.step == config_.training.steps; }
  // Whether this step's checkpoint is written in every run, stopped or not. Such ones alone can be
  // the best: another would set a bar that no checkpoint on disk has, or one that a run which was
  // not stopped would not have.
  bool writes_checkpoint() const { return due(config_.checkpoint.every) || at_end(); }

  RunConfig config_;
  const TrainOptions options_;
  Communicator& comm_;
  RunFolder folder_;
  int threads_ = 1;
  std::unique_ptr<BatchSource> train_data_;
  std::vector<std::unique_ptr<BatchSource>> validation_data_;
  std::vector<int64_t> map_indices_;  // sequences of the first set that attention maps are drawn of
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Communicator> gpu_comm_;  // of ranks with a GPU each: sums gradients; else null
  std::unique_ptr<GradientBuckets> buckets_;
  std::unique_ptr<RunTelemetry> telemetry_;
  std::unique_ptr<UpdateTelemetry> update_telemetry_;
  std::unique_ptr<QuantizationProbe> probe_;  // null: off
  std::unique_ptr<StopSignal> stop_signal_;
  std::unique_ptr<Prefetcher> prefetcher_;  // after what its thread uses

  TrainingState state_;
  std::string resumed_from_;     // the checkpoint; empty: a new run
  std::string initial_weights_;  // what came of training.initial_weights, for the log
  double matmul_flops_ = 0;      // measured, all ranks together, operations a second
  int64_t saved_step_ = -1;
  bool stop_agreed_ = false;
  bool failed_alone_ = false;

  // Of the step at hand, after ApplyUpdate: sums over ranks.
  LossSums language_model_, next_sentence_;
  double gradient_norm_ = 0, learning_rate_ = 0, loss_scale_ = 1;
  double gradient_scale_ = 1;  // what made the summed gradient the mean loss's
  // Since the last report.
  StepReport report_;
  std::chrono::steady_clock::time_point report_time_;
  int64_t report_step_ = 0;
  double report_wait_ = 0;
};

}  // namespace sluice
