// A model with its memory and its optimizer, as one rank holds them. Everything that runs a model
// (training, evaluation, prediction, benchmarks, the dry run) makes an Engine; only planning
// happens before Allocate, so a dry run costs nothing.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "config/run_config.h"
#include "model/language_model.h"
#include "optim/adamw.h"

namespace sluice {

struct EngineOptions {
  DType dtype = DType::kBFloat16;
  int64_t max_batch = 1;  // sequences of the largest batch of this rank
  int64_t length = 0;     // tokens of the longest sequence
  bool train = false;     // backward and optimizer
};

// The dtype that training.precision names; UsageError otherwise.
absl::StatusOr<DType> ParsePrecision(const std::string& precision);

class Engine {
 public:
  // Plans. config.model.vocab_size must be known.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const RunConfig& config,
                                                        const EngineOptions& options);

  // Makes the memory, binds the model and draws initial weights from config.training.seed.
  absl::Status Allocate(ArenaFill fill = ArenaFill::kZero);

  // After weights were written from outside (a checkpoint): rounds masters to working weights,
  // drops packed copies.
  void WeightsLoaded();

  // Forward and backward of one micro-batch; adds to the flat gradient and to losses.
  absl::Status ForwardBackward(const Batch& batch, const ForwardOptions& options,
                               ModelLosses& losses,
                               const LanguageModel::GradientReady& gradient_ready = nullptr);
  // Forward without dropout; adds to losses.
  absl::Status Evaluate(const Batch& batch, ModelLosses& losses, Observer* observer = nullptr);
  // L2 norm of the flat gradient times gradient_scale.
  double GradientNorm(double gradient_scale) const;
  // One AdamW update with the flat gradient times gradient_scale; zeroes the gradient.
  absl::Status Update(double learning_rate, double gradient_scale);

  const RunConfig& config() const { return config_; }
  const EngineOptions& options() const { return options_; }
  ExecutionContext& context() { return context_; }
  const Arena& arena() const { return arena_; }
  const ParameterStore& parameters() const { return parameters_; }
  LanguageModel& model() { return *model_; }
  AdamWOptimizer& optimizer() { return *optimizer_; }
  const AdamWOptimizer& optimizer() const { return *optimizer_; }

 private:
  Engine(const RunConfig& config, const EngineOptions& options)
      : config_(config), options_(options) {}

  RunConfig config_;
  EngineOptions options_;
  ExecutionContext context_;
  Arena arena_;
  ParameterStore parameters_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<AdamWOptimizer> optimizer_;  // null without train
};

}  // namespace sluice
