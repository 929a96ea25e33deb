// A model with its memory and its optimizer, as one rank holds them. Everything that runs a model
// (training, evaluation, prediction, benchmarks, the dry run) makes an Engine; only planning
// happens before Allocate, so a dry run costs nothing.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "model/language_model.h"
#include "ops/attention_kernel.h"
#include "optim/loss_scale.h"
#include "optim/optimizer.h"
#include "optim/update_norms.h"
#include "runtime/device.h"
#include "runtime/host_tensor.h"

namespace sluice {

struct EngineOptions {
  DType dtype = DType::kBFloat16;
  int64_t max_batch = 1;                  // sequences of the largest batch of this rank
  int64_t length = 0;                     // tokens of the longest sequence
  bool train = false;                     // backward and optimizer
  std::string device = "cpu";             // runtime.device
  int local_rank = 0;                     // among the ranks of this machine: chooses the GPU
  std::string attention_kernel = "auto";  // runtime.attention_kernel
};

// What came of an update.
struct UpdateOutcome {
  ModelLosses losses;    // since the last update, of this rank or as SetLosses had them
  double gradient_norm;  // global L2, scaled, before clipping
  double loss_scale;     // that the gradients were made with
  bool applied;          // false: loss or norm is not finite; weights and moments are as they were
  bool may_go_on;        // false: and there is no lower loss scale to try
  // Then: whose gradients are not finite, in the order in which backward makes them.
  std::vector<std::string> not_finite;
};

// What the next-sentence head's loss weighs. A row has mlm_probability * T targets on average, so
// both losses' means weigh alike; a constant, so that gradients do not depend on how the batch is
// split (docs/decisions/0008).
inline double NextSentenceWeight(const RunConfig& config) {
  return config.data.mlm_probability * static_cast<double>(config.data.sequence_length);
}

// The dtype that training.precision names; UsageError otherwise.
absl::StatusOr<DType> ParsePrecision(const std::string& precision);

class Engine {
 public:
  // Opens the device and plans. config.model.vocab_size must be known. UsageError for fp16 on a
  // CPU, and where options.attention_kernel cannot be.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const RunConfig& config,
                                                        const EngineOptions& options);

  // Makes the memory, binds the model and draws initial weights from config.training.seed.
  absl::Status Allocate(ArenaFill fill = ArenaFill::kZero);

  // After weights were written from outside (a checkpoint): rounds masters to working weights,
  // drops packed copies.
  absl::Status WeightsLoaded();

  // Forward and backward of one micro-batch; adds to the flat gradient, in fp16 times the loss
  // scale, and to the step's losses. On a GPU it returns when all is on its way.
  absl::Status ForwardBackward(const Batch& batch, const ForwardOptions& options,
                               const LanguageModel::GradientReady& gradient_ready = nullptr);
  // Begins to copy the batch of the next ForwardBackward, which stays as it is until then:
  // DeviceBatch::Prefetch. Call when all of this one is on its way.
  absl::Status Prefetch(const Batch& batch) { return model_->Prefetch(context_, batch); }
  // The step's losses, summed since the last update on this rank. Waits.
  absl::StatusOr<ModelLosses> ReadLosses();
  // Puts the sums of all ranks in their place, for the update to look at.
  absl::Status SetLosses(const ModelLosses& losses);
  // One AdamW update with the flat gradient times gradient_scale (and without the loss scale),
  // clipped to optimizer.max_grad_norm, unless losses or gradients are not finite; then gradient
  // and losses are zero, and in fp16 the loss scale is adjusted. The one place where a step waits
  // for a GPU. `norms` measures the update, or is null.
  absl::StatusOr<UpdateOutcome> ClipAndUpdate(double learning_rate, double gradient_scale,
                                              UpdateNorms* norms = nullptr);

  // The same in pieces, each of which waits: adds to `losses`, which are the caller's;
  absl::Status ForwardBackward(const Batch& batch, const ForwardOptions& options,
                               ModelLosses& losses,
                               const LanguageModel::GradientReady& gradient_ready = nullptr);
  // forward without dropout; adds to `losses`;
  absl::Status Evaluate(const Batch& batch, ModelLosses& losses, Observer* observer = nullptr);
  // one AdamW update with the flat gradient times gradient_scale; zeroes the gradient.
  absl::Status Update(double learning_rate, double gradient_scale);

  // Logits (positions, V) of the model, on the host: LanguageModel::Predict.
  absl::StatusOr<HostTensor> Predict(const Batch& batch, const std::vector<int32_t>& positions,
                                     Observer* observer = nullptr);

  const RunConfig& config() const { return config_; }
  const EngineOptions& options() const { return options_; }
  ExecutionContext& context() { return context_; }
  Device& device() const { return *device_; }
  const ops::AttentionChoice& attention() const { return attention_; }
  const Arena& arena() const { return arena_; }
  Arena& arena() { return arena_; }  // for what others keep beside the model: before Allocate
  const ParameterStore& parameters() const { return parameters_; }
  LanguageModel& model() { return *model_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  LossScale& loss_scale() { return loss_scale_; }
  const LossScale& loss_scale() const { return loss_scale_; }

 private:
  absl::Status ChooseAttention();
  absl::Status PlanCudnn();
  Engine(const RunConfig& config, const EngineOptions& options, std::unique_ptr<Device> device)
      : config_(config), options_(options), device_(std::move(device)), context_(*device_) {
    if (options.dtype != DType::kFloat16) return;
    loss_scale_ = LossScale(config.training.loss_scale,
                            config.model.next_sentence_head ? NextSentenceWeight(config) : 1);
  }
  // Of a step, in memory of the device, side by side so that they are read together.
  struct StepResults {
    ModelLosses losses;
    UpdateDecision decision;
  };
  StepResults* results() const { return static_cast<StepResults*>(results_->data()); }
  absl::Status ZeroLosses() { return device_->Fill(&results()->losses, 0, sizeof(ModelLosses)); }
  absl::Status AddTo(ModelLosses& losses);
  absl::Status SkipUpdate(UpdateOutcome& outcome);

  RunConfig config_;
  EngineOptions options_;
  std::unique_ptr<Device> device_;  // before what lies in its memory
  ops::AttentionChoice attention_;
  ExecutionContext context_;
  Arena arena_;
  const TensorView* results_ = nullptr;  // StepResults, as bytes
  ParameterStore parameters_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Optimizer> optimizer_;  // null without train
  LossScale loss_scale_;
};

}  // namespace sluice
