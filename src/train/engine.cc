#include "train/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "model/architecture.h"
#include "model/initialize.h"
#include "ops/cudnn_attention.h"
#include "ops/elementwise.h"

namespace sluice {

absl::StatusOr<DType> ParsePrecision(const std::string& precision) {
  if (precision == "bf16") return DType::kBFloat16;
  if (precision == "fp32") return DType::kFloat32;
  if (precision == "fp16") return DType::kFloat16;
  return UsageError("unknown training.precision", precision, "known: fp32, bf16, fp16");
}

namespace {

template <typename T>
bool AllFinite(const T* values, int64_t count) {
  return std::all_of(values, values + count, [](T x) { return std::isfinite(x); });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const RunConfig& config,
                                                       const EngineOptions& options) {
  CHECK_GT(config.model.vocab_size, 0);
  // Positions in a batch are 32 bits.
  const int64_t row = options.length + config.model.attention.register_tokens;
  if (options.max_batch > std::numeric_limits<int32_t>::max() / std::max<int64_t>(row, 1)) {
    return UsageError("a micro-batch has more tokens than 2147483647", "",
                      absl::StrCat(options.max_batch, " sequences of ", row));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Device> device,
                   Device::Open(options.device, options.local_rank));
  if (options.dtype == DType::kFloat16 && !device->is_cuda()) {
    return UsageError("CPUs have no fp16 kernels", "", "take bf16, or a GPU");
  }
  auto engine = std::unique_ptr<Engine>(new Engine(config, options, std::move(device)));
  RETURN_IF_ERROR(engine->ChooseAttention());
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
        MakeOptimizer(config.optimizer, engine->parameters_, engine->context_, engine->arena_);
  }
  engine->results_ = engine->arena_.Reserve("step results", MemoryPurpose::kScratch, DType::kInt64,
                                            {CeilDiv(sizeof(StepResults), 8)});
  RETURN_IF_ERROR(engine->PlanCudnn());
  engine->context_.ReserveWorkspace(engine->arena_);
  return engine;
}

absl::Status Engine::ChooseAttention() {
  const ModelConfig& model = config_.model;
  ASSIGN_OR_RETURN(const ops::AttentionVariant variant,
                   ParseAttentionVariant(model.attention, config_.data.sequence_length));
  const ops::AttentionNeeds needs = {.variant = variant,
                                     .dtype = options_.dtype,
                                     .head_size = model.hidden_size / model.num_attention_heads,
                                     .length = options_.length,
                                     .documents = !config_.data.attention_across_documents,
                                     .train = options_.train,
                                     .dropout = model.attention_probs_dropout_prob};
  const bool on_cuda = device_->is_cuda();
  ASSIGN_OR_RETURN(attention_, ops::ChooseAttentionKernel(
                                   options_.attention_kernel, needs,
                                   on_cuda ? cuda::ReadCudnnFacts() : cuda::CudnnFacts(), on_cuda));
  if (attention_.kernel == ops::AttentionKernel::kCudnn) context_.use_cudnn();
  return absl::OkStatus();
}

absl::Status Engine::PlanCudnn() {
  if (context_.cudnn() == nullptr) return absl::OkStatus();
  const ModelConfig& model = config_.model;
  ASSIGN_OR_RETURN(const Architecture architecture, DescribeArchitecture(model));
  ASSIGN_OR_RETURN(const ops::AttentionVariant variant,
                   ParseAttentionVariant(model.attention, config_.data.sequence_length));
  const int64_t H = model.num_attention_heads;
  const ops::AttentionDims dims = {options_.max_batch, options_.length, H, model.hidden_size / H};
  const auto plan = [&](const ops::AttentionVariant& of_layer) {
    return ops::PlanCudnnAttention(context_, dims, options_.dtype, of_layer, architecture.causal,
                                   options_.train);
  };
  if (!model.attention.gate.layers.empty()) RETURN_IF_ERROR(plan(Ungated(variant)));
  return plan(variant);
}

absl::Status Engine::Allocate(ArenaFill fill) {
  RETURN_IF_ERROR(arena_.Allocate(fill, *device_));
  model_->Bind(parameters_);
  if (optimizer_ != nullptr) RETURN_IF_ERROR(optimizer_->Bind(context_));
  RETURN_IF_ERROR(ZeroLosses());
  RETURN_IF_ERROR(InitializeParameters(config_.training.seed, context_, parameters_));
  model_->WeightsChanged();
  return device_->Synchronize();
}

absl::Status Engine::WeightsLoaded() {
  RETURN_IF_ERROR(
      ops::RoundToWorking(context_, parameters_.flat_master(), parameters_.flat_working()));
  model_->WeightsChanged();
  return absl::OkStatus();
}

absl::Status Engine::ForwardBackward(const Batch& batch, const ForwardOptions& options,
                                     const LanguageModel::GradientReady& gradient_ready) {
  CHECK(options_.train && options.train);
  ForwardOptions scaled = options;
  scaled.loss_scale *= loss_scale_.value();
  RETURN_IF_ERROR(model_->Forward(context_, batch, scaled, &results()->losses));
  return model_->Backward(context_, gradient_ready);
}

absl::StatusOr<ModelLosses> Engine::ReadLosses() {
  ModelLosses losses;
  RETURN_IF_ERROR(device_->CopyToHost(&losses, &results()->losses, sizeof(losses)));
  return losses;
}

absl::Status Engine::SetLosses(const ModelLosses& losses) {
  return device_->CopyToDevice(&results()->losses, &losses, sizeof(losses));
}

absl::StatusOr<UpdateOutcome> Engine::ClipAndUpdate(double learning_rate, double gradient_scale,
                                                    UpdateNorms* norms) {
  const double scale = loss_scale_.value();
  RETURN_IF_ERROR(optimizer_->ClipAndUpdate(context_, parameters_,
                                            {.learning_rate = learning_rate,
                                             .gradient_scale = gradient_scale / scale,
                                             .loss = &results()->losses.language_model.loss,
                                             .decision = &results()->decision,
                                             .norms = norms}));
  model_->WeightsChanged();
  StepResults step;
  RETURN_IF_ERROR(device_->CopyToHost(&step, results(), sizeof(step)));
  RETURN_IF_ERROR(ZeroLosses());
  UpdateOutcome outcome = {.losses = step.losses,
                           .gradient_norm = step.decision.gradient_norm,
                           .loss_scale = scale,
                           .applied = step.decision.skip == 0,
                           .may_go_on = true,
                           .not_finite = {}};
  if (outcome.applied) {
    loss_scale_.Applied();
  } else {
    RETURN_IF_ERROR(SkipUpdate(outcome));
  }
  return outcome;
}

absl::Status Engine::SkipUpdate(UpdateOutcome& outcome) {
  optimizer_->Skipped();
  outcome.may_go_on = loss_scale_.Overflowed();
  const TensorView gradient = parameters_.flat_gradient();
  if (outcome.may_go_on) return ops::Zero(context_, gradient);
  ASSIGN_OR_RETURN(const HostTensor host, HostTensor::Read(*device_, gradient));
  const bool is_double = gradient.dtype() == DType::kFloat64;
  for (const Parameter& parameter : parameters_.parameters()) {
    const int64_t at = parameter.offset, count = parameter.elements();
    const bool finite = is_double ? AllFinite(host.view().as<double>() + at, count)
                                  : AllFinite(host.view().as<float>() + at, count);
    if (!finite) outcome.not_finite.push_back(parameter.name);
  }
  return ops::Zero(context_, gradient);
}

absl::Status Engine::AddTo(ModelLosses& losses) {
  ASSIGN_OR_RETURN(const ModelLosses sums, ReadLosses());
  RETURN_IF_ERROR(ZeroLosses());
  const auto add = [](const LossSums& x, LossSums& y) {
    y.loss += x.loss;
    y.targets += x.targets;
    y.correct += x.correct;
  };
  add(sums.language_model, losses.language_model);
  add(sums.next_sentence, losses.next_sentence);
  return absl::OkStatus();
}

absl::Status Engine::ForwardBackward(const Batch& batch, const ForwardOptions& options,
                                     ModelLosses& losses,
                                     const LanguageModel::GradientReady& gradient_ready) {
  RETURN_IF_ERROR(ForwardBackward(batch, options, gradient_ready));
  return AddTo(losses);
}

absl::Status Engine::Evaluate(const Batch& batch, ModelLosses& losses, Observer* observer) {
  RETURN_IF_ERROR(
      model_->Forward(context_, batch, ForwardOptions{.observer = observer}, &results()->losses));
  return AddTo(losses);
}

absl::StatusOr<HostTensor> Engine::Predict(const Batch& batch,
                                           const std::vector<int32_t>& positions,
                                           Observer* observer) {
  ASSIGN_OR_RETURN(const TensorView logits, model_->Predict(context_, batch, positions, observer));
  return HostTensor::Read(*device_, logits);
}

absl::Status Engine::Update(double learning_rate, double gradient_scale) {
  RETURN_IF_ERROR(optimizer_->Update(context_, parameters_, learning_rate,
                                     gradient_scale / loss_scale_.value()));
  model_->WeightsChanged();
  return absl::OkStatus();
}

}  // namespace sluice
