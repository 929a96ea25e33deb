#include "train/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "model/initialize.h"
#include "ops/elementwise.h"

namespace sluice {

absl::StatusOr<DType> ParsePrecision(const std::string& precision) {
  if (precision == "bf16") return DType::kBFloat16;
  if (precision == "fp32") return DType::kFloat32;
  return UsageError("unknown training.precision", precision, "known: fp32, bf16");
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const RunConfig& config,
                                                       const EngineOptions& options) {
  CHECK_GT(config.model.vocab_size, 0);
  // Positions in a batch are 32 bits.
  const int64_t row = options.length + config.model.attention.register_tokens;
  if (options.max_batch > std::numeric_limits<int32_t>::max() / std::max<int64_t>(row, 1)) {
    return UsageError("a micro-batch has more tokens than 2147483647", "",
                      absl::StrCat(options.max_batch, " sequences of ", row));
  }
  auto engine = std::unique_ptr<Engine>(new Engine(config, options));
  const ModelBuild build{.context = engine->context_,
                         .arena = engine->arena_,
                         .parameters = engine->parameters_,
                         .dtype = options.dtype,
                         .max_batch = options.max_batch,
                         .length = options.length,
                         .registers = 0,
                         .train = options.train};
  ASSIGN_OR_RETURN(engine->model_, LanguageModel::Create(build, config));
  engine->parameters_.Plan(engine->arena_, options.dtype, options.train);
  if (options.train) {
    engine->optimizer_ =
        std::make_unique<AdamWOptimizer>(config.optimizer, engine->parameters_, engine->arena_);
  }
  engine->context_.ReserveWorkspace(engine->arena_);
  return engine;
}

absl::Status Engine::Allocate(ArenaFill fill) {
  RETURN_IF_ERROR(arena_.Allocate(fill));
  model_->Bind(parameters_);
  InitializeParameters(config_.training.seed, parameters_);
  model_->WeightsChanged();
  return absl::OkStatus();
}

void Engine::WeightsLoaded() {
  RoundMasterToWorking(parameters_);
  model_->WeightsChanged();
}

absl::Status Engine::ForwardBackward(const Batch& batch, const ForwardOptions& options,
                                     ModelLosses& losses,
                                     const LanguageModel::GradientReady& gradient_ready) {
  CHECK(options_.train && options.train);
  RETURN_IF_ERROR(model_->Forward(context_, batch, options, losses));
  return model_->Backward(context_, gradient_ready);
}

absl::Status Engine::Evaluate(const Batch& batch, ModelLosses& losses, Observer* observer) {
  return model_->Forward(context_, batch, ForwardOptions{.observer = observer}, losses);
}

double Engine::GradientNorm(double gradient_scale) const {
  return std::sqrt(ops::SumOfSquares(context_, parameters_.flat_gradient())) * gradient_scale;
}

absl::Status Engine::Update(double learning_rate, double gradient_scale) {
  RETURN_IF_ERROR(optimizer_->Update(context_, parameters_, learning_rate, gradient_scale));
  model_->WeightsChanged();
  return absl::OkStatus();
}

}  // namespace sluice
