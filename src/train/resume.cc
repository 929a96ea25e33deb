#include "train/resume.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "checkpoint/verify.h"
#include "checkpoint/writer.h"
#include "config/dump.h"
#include "config/load.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "core/version.h"
#include "data/bigram_backcopy_source.h"
#include "data/content_hash.h"
#include "runtime/host_tensor.h"
#include "train/load_model.h"

namespace sluice {
namespace {

// A parameter's part of a flat buffer.
std::span<float> ValuesOf(const Parameter& parameter, const TensorView& flat) {
  return {flat.as<float>() + parameter.offset, static_cast<size_t>(parameter.elements())};
}

std::vector<TensorDestination> WeightDestinations(const ParameterStore& parameters,
                                                  const TensorView& flat) {
  std::vector<TensorDestination> tensors;
  for (const Parameter& parameter : parameters.parameters()) {
    tensors.push_back({parameter.name, parameter.shape, ValuesOf(parameter, flat)});
  }
  return tensors;
}

// In the order of the parameters; `moments` are the optimizer's on the host.
std::vector<TensorDestination> OptimizerDestinations(const Engine& engine,
                                                     const std::vector<HostTensor>& moments) {
  std::vector<TensorDestination> tensors;
  for (const Parameter& parameter : engine.parameters().parameters()) {
    for (size_t i = 0; i < moments.size(); ++i) {
      tensors.push_back({absl::StrCat(engine.optimizer().moments()[i].name, "/", parameter.name),
                         parameter.shape, ValuesOf(parameter, moments[i].view())});
    }
  }
  return tensors;
}

std::vector<NamedTensor> AsNamed(const std::vector<TensorDestination>& destinations) {
  std::vector<NamedTensor> tensors;
  for (const TensorDestination& tensor : destinations) {
    tensors.push_back({tensor.name, tensor.shape, tensor.values});
  }
  return tensors;
}

// Names among CheckpointState::counters; clean_updates is there only when written in fp16.
constexpr char kCleanUpdates[] = "clean_updates", kSkippedUpdates[] = "skipped_updates";

constexpr char kBestMetricData[] = "best_metric_data";
constexpr char kGeneratedText[] = "generated_text";

// A best one by another measure, or of other data, says nothing of this run's.
bool MeasuredAlike(const CheckpointState& saved, const RunConfig& before, const RunConfig& config,
                   int64_t measured_data) {
  if (MetricName(before.checkpoint) != MetricName(config.checkpoint)) return false;
  const auto found = saved.counters.find(kBestMetricData);
  if (found != saved.counters.end()) return found->second == measured_data;
  // A checkpoint from before there was the counter: as far as its configuration says.
  return before.data.validation == config.data.validation &&
         before.training.evaluation_batches == config.training.evaluation_batches;
}

// Counters of active alarms, which are 1: this and the alarm's name.
constexpr char kAlarm[] = "alarm.";

std::set<std::string> ActiveAlarms(const CheckpointState& saved) {
  std::set<std::string> active;
  for (const auto& [name, value] : saved.counters) {
    if (absl::StartsWith(name, kAlarm) && value != 0) active.insert(name.substr(sizeof kAlarm - 1));
  }
  return active;
}

absl::Status LoadMoments(const std::string& folder, Engine& engine) {
  std::vector<HostTensor> moments;
  for (const OptimizerMoment& moment : engine.optimizer().moments()) {
    moments.push_back(HostTensor::ToWrite(engine.device(), *moment.values));
  }
  RETURN_IF_ERROR(ReadCheckpointOptimizer(folder, OptimizerDestinations(engine, moments)));
  for (HostTensor& moment : moments) RETURN_IF_ERROR(moment.Store());
  return absl::OkStatus();
}

absl::Status RestoreLossScale(const std::string& folder, const CheckpointState& saved,
                              Engine& engine) {
  const auto counter = [&](const char* name) {
    const auto found = saved.counters.find(name);
    return found == saved.counters.end() ? 0 : found->second;
  };
  LossScale::State state = engine.loss_scale().state();
  state.skipped_updates = counter(kSkippedUpdates);
  if (saved.counters.contains(kCleanUpdates)) {
    state.scale = saved.loss_scale;
    state.clean_updates = counter(kCleanUpdates);
  }
  if (state.skipped_updates < 0 || state.skipped_updates > saved.step || state.clean_updates < 0 ||
      !(state.scale > 0 && std::isfinite(state.scale))) {
    return CheckpointError(
        "the state of the loss scale is out of range", folder,
        absl::StrCat("loss_scale ", state.scale, ", clean_updates ", state.clean_updates,
                     ", skipped_updates ", state.skipped_updates));
  }
  engine.loss_scale().Restore(state);
  engine.optimizer().set_updates(saved.step - state.skipped_updates);
  return absl::OkStatus();
}

void SaveLossScale(const LossScale& scale, CheckpointState& state) {
  state.loss_scale = scale.value();
  if (scale.dynamic()) state.counters[kCleanUpdates] = scale.state().clean_updates;
  // Later updates in another precision go on counting where these left off.
  if (scale.dynamic() || scale.state().skipped_updates > 0) {
    state.counters[kSkippedUpdates] = scale.state().skipped_updates;
  }
}

}  // namespace

std::string MetricName(const CheckpointConfig& checkpoint) {
  return checkpoint.keep_best == "quantized_perplexity" ? "validation/quantized_perplexity"
                                                        : "validation/perplexity";
}

int64_t GeneratedText(const BatchSource& data) {
  const auto* generated = dynamic_cast<const BigramBackcopySource*>(&data);
  return generated == nullptr ? 0 : generated->task().TextHash();
}

absl::Status CheckSameText(const std::string& folder, const CheckpointState& saved,
                           const BatchSource& data) {
  const auto found = saved.counters.find(kGeneratedText);
  if (found == saved.counters.end() || found->second == GeneratedText(data)) {
    return absl::OkStatus();
  }
  return CheckpointError("was trained on sequences from another text than data.table is now",
                         folder);
}

int64_t MeasuredData(const RunConfig& config, const BatchSource& first, int64_t micro_batch) {
  std::string text;
  if (first.manifest() == nullptr) {
    text = first.name();
  } else {
    for (const ManifestShard& shard : first.manifest()->shards) {
      absl::StrAppend(&text, Xxh3Text(shard.xxh3), " ");
    }
  }
  absl::StrAppend(&text, "; ", first.sequences_per_epoch(), " sequences of ",
                  first.sequence_length());
  if (config.checkpoint.keep_best == "quantized_perplexity") {
    absl::StrAppend(&text, "; ", config.telemetry.quantization_probe, " ",
                    config.telemetry.quantization_probe_batches);
  } else if (const int64_t batches = config.training.evaluation_batches; batches > 0) {
    absl::StrAppend(&text, "; at most ",
                    std::min(batches * micro_batch, first.sequences_per_epoch()));
  }
  Xxh3Hasher hasher;
  hasher.Update(text.data(), text.size());
  return static_cast<int64_t>(hasher.Digest() >> 1);
}

void TrainingState::RememberMetric(double perplexity) {
  if (best_metric.has_value() && *best_metric <= perplexity) return;
  best_metric = perplexity;
  best_step = step;
}

absl::StatusOr<std::string> FindCheckpointToResume(const std::string& resume,
                                                   const std::string& checkpoints_folder) {
  if (resume == "none") return "";
  if (resume != "auto") return ResolveCheckpoint(resume);
  ASSIGN_OR_RETURN(const NewestCheckpoint newest, FindNewestCheckpoint(checkpoints_folder));
  return newest.folder;
}

absl::Status LoadWeights(const std::string& folder, Engine& engine) {
  HostTensor master = HostTensor::ToWrite(engine.device(), engine.parameters().flat_master());
  RETURN_IF_ERROR(
      ReadCheckpointModel(folder, WeightDestinations(engine.parameters(), master.view())));
  RETURN_IF_ERROR(master.Store());
  return engine.WeightsLoaded();
}

absl::StatusOr<TrainingState> LoadTraining(const std::string& folder, const RunConfig& config,
                                           const TokenizerIdentity& tokenizer,
                                           int64_t measured_data, Engine& engine) {
  RETURN_IF_ERROR(CheckMayResume(folder, config, tokenizer));
  ASSIGN_OR_RETURN(const CheckpointState saved, ReadCheckpointState(folder));
  RETURN_IF_ERROR(LoadWeights(folder, engine));
  // Imported weights have no moments yet, whatever the optimizer: they stay 0.
  if (!saved.imported_from.has_value()) RETURN_IF_ERROR(LoadMoments(folder, engine));
  RETURN_IF_ERROR(RestoreLossScale(folder, saved, engine));
  TrainingState state;
  state.step = saved.step;
  state.next_sample = saved.next_sample;
  ASSIGN_OR_RETURN(const RunConfig before,
                   LoadRunConfig(folder + "/config.yaml", {}, ConfigUse::kInspection));
  state.best_metric_data = measured_data;
  // Where perplexity is measured at the end alone, the best so far is a shorter run's end, which a
  // run that is not stopped there does not measure: it would not begin as this one does.
  const bool at_ends =
      config.checkpoint.keep_best == "perplexity" && config.training.evaluate_every == 0;
  if (!at_ends && MeasuredAlike(saved, before, config, measured_data)) {
    state.best_metric = saved.best_metric;
    state.best_step = saved.best_step;
  } else if (!at_ends && saved.best_step.has_value()) {
    LogInfo(absl::StrCat("the best checkpoint so far, of step ", *saved.best_step,
                         ", was measured otherwise or on other data: it is looked for anew"));
  }
  state.active_alarms = ActiveAlarms(saved);
  return state;
}

absl::Status SaveTraining(const std::string& checkpoints_folder, const TrainingSnapshot& run) {
  const auto& [config, state, world_size, engine, gates, attention, telemetry, data,
               sequences_per_epoch, delete_old] = run;
  CheckpointContents contents;
  Device& device = engine.device();
  ASSIGN_OR_RETURN(const HostTensor master,
                   HostTensor::Read(device, engine.parameters().flat_master()));
  std::vector<HostTensor> moments;
  for (const OptimizerMoment& moment : engine.optimizer().moments()) {
    ASSIGN_OR_RETURN(HostTensor host, HostTensor::Read(device, *moment.values));
    moments.push_back(std::move(host));
  }
  contents.model = AsNamed(WeightDestinations(engine.parameters(), master.view()));
  contents.optimizer = AsNamed(OptimizerDestinations(engine, moments));
  contents.gates = gates;
  contents.attention = attention;
  contents.telemetry = telemetry;
  contents.state.sluice_version = kVersion;
  contents.state.step = state.step;
  contents.state.next_sample = state.next_sample;
  if (sequences_per_epoch > 0) contents.state.epoch = state.next_sample / sequences_per_epoch;
  contents.state.seed = config.training.seed;
  contents.state.world_size = world_size;
  contents.state.best_metric = state.best_metric;
  contents.state.best_step = state.best_step;
  SaveLossScale(engine.loss_scale(), contents.state);
  if (state.best_metric.has_value()) {
    contents.state.counters[kBestMetricData] = state.best_metric_data;
  }
  if (state.generated_text != 0) contents.state.counters[kGeneratedText] = state.generated_text;
  for (const std::string& alarm : state.active_alarms) contents.state.counters[kAlarm + alarm] = 1;
  contents.state.counters["tokens_seen"] = state.next_sample * config.data.sequence_length;
  contents.config_yaml = DumpRunConfig(config);
  if (data != nullptr) contents.files = data->VocabularyPaths();
  RETURN_IF_ERROR(WriteCheckpoint(checkpoints_folder, contents));
  const bool keep_best = config.checkpoint.keep_best != "none";
  if (keep_best && state.best_step == state.step) {
    RETURN_IF_ERROR(MarkBestCheckpoint(
        checkpoints_folder, {state.step, MetricName(config.checkpoint), *state.best_metric}));
  }
  if (!delete_old) return absl::OkStatus();
  // The new checkpoint is written; that an old one cannot be deleted is no reason to stop a run.
  const auto deleted = ApplyRetention(
      checkpoints_folder,
      {.keep_last = config.checkpoint.keep_last, .keep_best = keep_best, .written = state.step});
  if (!deleted.ok())
    LogWarning(absl::StrCat("old checkpoints stay: ", std::string(deleted.status().message())));
  return absl::OkStatus();
}

}  // namespace sluice
