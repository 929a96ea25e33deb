// Between a running Engine and a checkpoint: what is saved, and how a run goes on.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"
#include "config/run_config.h"
#include "data/batch_source.h"
#include "train/engine.h"

namespace sluice {

// Where a run stands, besides weights and optimizer.
struct TrainingState {
  int64_t step = 0;         // updates done, skipped ones too
  int64_t next_sample = 0;  // global index of the first sample that no update has used
  // Of the steps that checkpoints were due at: lowest perplexity on the first validation set, or
  // with keep_best: quantized_perplexity the lowest of those.
  std::optional<double> best_metric;
  std::optional<int64_t> best_step;
  // Stands for what best_metric is measured on (MeasuredData); 0: not told.
  int64_t best_metric_data = 0;
  int64_t generated_text = 0;           // BigramBackcopy::TextHash of the data; 0: not told
  std::set<std::string> active_alarms;  // begun and not over; on rank 0

  void RememberMetric(double perplexity);
};

// What the best checkpoint is the best in, as best.yaml names it.
std::string MetricName(const CheckpointConfig& checkpoint);

// BigramBackcopy::TextHash of data that are generated from a text; 0: of other data.
int64_t GeneratedText(const BatchSource& data);
// CheckpointError when the checkpoint `folder`, in whose state `saved` is what GeneratedText was,
// was trained on sequences from another text than `data`: the same file, perhaps, with other
// characters in it.
absl::Status CheckSameText(const std::string& folder, const CheckpointState& saved,
                           const BatchSource& data);

// A number, not negative, that stands for what the best checkpoint's metric is measured on: the
// data of the first validation set, `first` (its shards' checksums, or where there are none its
// name), and how much of it, in batches of `micro_batch` sequences where the metric is the
// perplexity of training.evaluation_batches of them. Paths do not count where there are checksums.
int64_t MeasuredData(const RunConfig& config, const BatchSource& first, int64_t micro_batch);

// The folder that `resume` stands for: "none" gives "", "auto" the newest whole checkpoint in
// `checkpoints_folder` ("" when there is none), anything else a checkpoint or run folder that must
// exist.
absl::StatusOr<std::string> FindCheckpointToResume(const std::string& resume,
                                                   const std::string& checkpoints_folder);

// Whether a run of `config` may go on from the checkpoint `folder`, as far as that is told without
// its tensors. CheckpointError when its vocabulary is not `tokenizer`'s, the training data's (not
// asked when that has none); UsageError when it is past training.steps, and when a key that decides
// what is computed (model, data, optimizer, seed, batch) differs from the run's, naming each. Keys
// that may change: name, steps, evaluation, logging, checkpointing, telemetry, runtime,
// prefetching, schedule, precision (masters are fp32 in all) and its loss scale, which starts anew
// when the checkpoint is not of fp16; from imported weights (CheckpointState::imported_from), all
// but the model's own.
absl::Status CheckMayResume(const std::string& folder, const RunConfig& config,
                            const TokenizerIdentity& tokenizer);

// Reads weights, optimizer and state. Fails where CheckMayResume does, and with CheckpointError
// when the tensors are not this model's. The best so far is left out, and the log says so, when it
// was measured otherwise than by config.checkpoint.keep_best on `measured_data` (MeasuredData); and
// where perplexity is measured at the end of a run alone.
absl::StatusOr<TrainingState> LoadTraining(const std::string& folder, const RunConfig& config,
                                           const TokenizerIdentity& tokenizer,
                                           int64_t measured_data, Engine& engine);

// CheckpointError when the vocabulary in the checkpoint `folder` is not `tokenizer`'s: ids mean
// what a vocabulary says. Not asked when `tokenizer` has none.
absl::Status CheckSameVocabulary(const std::string& folder, const TokenizerIdentity& tokenizer);

// Whether a model's function depends on the key: not on how weights came to be, or how they are
// trained.
bool DecidesTheFunction(const std::string& key);

// Writes checkpoints_folder/step_NNNNNNNN, marks it as the best if it is, and with delete_old
// deletes what config.checkpoint does not keep. One rank only.
struct TrainingSnapshot {
  const RunConfig& config;
  const TrainingState& state;
  int world_size;
  const Engine& engine;
  // Of gates.h5: since the last checkpoint, and what telemetry goes on with.
  GateStatistics gates;
  AttentionStatistics attention;
  TelemetryState telemetry;
  const Manifest* data;         // whose vocabulary goes along; null: none does
  int64_t sequences_per_epoch;  // 0: no end
  bool delete_old;              // what config.checkpoint does not keep
};
absl::Status SaveTraining(const std::string& checkpoints_folder, const TrainingSnapshot& run);

// Reads the weights of the checkpoint in `folder` alone.
absl::Status LoadWeights(const std::string& folder, Engine& engine);

}  // namespace sluice
