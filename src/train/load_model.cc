#include "train/load_model.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "config/load.h"
#include "core/error.h"
#include "core/status.h"
#include "train/clipped_softmax_gamma.h"
#include "train/resume.h"

namespace sluice {
namespace {

// The run's precision where the device has it. CPUs have no fp16: there fp32, which is the
// checkpoint's own and exact.
absl::StatusOr<DType> PrecisionOn(const std::string& device, const RunConfig& config) {
  ASSIGN_OR_RETURN(const DType dtype, ParsePrecision(config.training.precision));
  return dtype == DType::kFloat16 && device == "cpu" ? DType::kFloat32 : dtype;
}

// The configuration of the checkpoint's run, its data as `overrides` say.
absl::StatusOr<RunConfig> ReadConfig(const std::string& folder,
                                     const std::vector<std::string>& overrides) {
  const std::string path = absl::StrCat(folder, "/", kConfigFile);
  ASSIGN_OR_RETURN(RunConfig trained, LoadRunConfig(path, {}, ConfigUse::kInspection));
  if (overrides.empty()) return trained;
  for (const std::string& word : overrides) {
    if (absl::StartsWith(word, "data.")) continue;
    return UsageError("only data.key=value can differ from the run", word);
  }
  ASSIGN_OR_RETURN(const RunConfig changed, LoadRunConfig(path, overrides, ConfigUse::kInspection));
  const auto task = [](const DataConfig& data) {
    return absl::StrCat("data.source ", data.source, ", data.table ", data.table,
                        ", data.triggers ", data.triggers);
  };
  if (task(changed.data) != task(trained.data)) {
    return UsageError("the model was trained on another task", task(changed.data),
                      task(trained.data));
  }
  FixClippedSoftmaxGamma(trained);
  trained.data = changed.data;
  return trained;
}

}  // namespace

absl::StatusOr<std::string> ResolveCheckpoint(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return CheckpointError("no such checkpoint or run folder", path);
  const std::string checkpoints = path + "/checkpoints";
  if (std::filesystem::is_directory(checkpoints, error)) {
    ASSIGN_OR_RETURN(const NewestCheckpoint newest, FindNewestCheckpoint(checkpoints));
    if (newest.folder.empty()) return CheckpointError("the run has no whole checkpoint yet", path);
    return newest.folder;
  }
  if (!std::filesystem::is_directory(path, error)) {
    return CheckpointError("not a checkpoint: a checkpoint is a folder", path);
  }
  RETURN_IF_ERROR(VerifyCheckpoint(path));
  return path;
}

absl::StatusOr<LoadedModel> LoadModel(const std::string& path, const LoadModelOptions& options) {
  LoadedModel model;
  ASSIGN_OR_RETURN(model.folder, ResolveCheckpoint(path));
  ASSIGN_OR_RETURN(model.config, ReadConfig(model.folder, options.data_overrides));
  ASSIGN_OR_RETURN(model.state, ReadCheckpointState(model.folder));
  if (model.config.model.vocab_size <= 0) {
    return CheckpointError("the checkpoint's config.yaml has no model.vocab_size", model.folder);
  }
  ASSIGN_OR_RETURN(const DType dtype, options.precision.empty()
                                          ? PrecisionOn(options.device, model.config)
                                          : ParsePrecision(options.precision));
  const int64_t length = options.length == LoadModelOptions::kLongest
                             ? model.config.model.max_position_embeddings
                         : options.length == 0 ? model.config.data.sequence_length
                                               : options.length;
  ASSIGN_OR_RETURN(model.engine, Engine::Create(model.config, {.dtype = dtype,
                                                               .max_batch = options.max_batch,
                                                               .length = length,
                                                               .train = false,
                                                               .device = options.device,
                                                               .local_rank = options.local_rank}));
  RETURN_IF_ERROR(model.engine->Allocate());
  RETURN_IF_ERROR(LoadWeights(model.folder, *model.engine));
  return model;
}

}  // namespace sluice
