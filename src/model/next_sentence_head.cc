#include "model/next_sentence_head.h"

#include <span>

#include "core/check.h"
#include "core/status.h"
#include "ops/activation.h"
#include "ops/cross_entropy.h"
#include "ops/row_gather.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {
constexpr int64_t kClasses = 2;
}

NextSentenceHead::NextSentenceHead(const ModelBuild& build, int64_t hidden_size,
                                   const InitialValues& weight)
    : hidden_size_(hidden_size), gradient_begin_(build.parameters.flat_elements()) {
  const int64_t B = build.max_batch, C = hidden_size;
  classifier_weight_ = build.parameters.Add("cls.seq_relationship.weight", {kClasses, C}, weight);
  classifier_bias_ = build.parameters.Add("cls.seq_relationship.bias", {kClasses}, {});
  pooler_weight_ = build.parameters.Add("bert.pooler.dense.weight", {C, C}, weight);
  pooler_bias_ = build.parameters.Add("bert.pooler.dense.bias", {C}, {});
  gradient_end_ = build.parameters.flat_elements();
  pooler_.Plan(build.context, build.arena, "bert.pooler", build.dtype, {B, C, C}, build.train);
  classifier_.Plan(build.context, build.arena, "cls.seq_relationship", build.dtype,
                   {B, C, kClasses}, build.train);
  const DType wide = AccumulatorDType(build.dtype);
  auto reserve = [&](absl::string_view name, DType dtype, const Shape& shape) {
    return build.arena.Reserve(name, MemoryPurpose::kScratch, dtype, shape);
  };
  rows_ = reserve("next_sentence.rows", DType::kInt32, {B});
  host_rows_.resize(B);
  ops::PlanCrossEntropy(build.context, B);
  first_ = build.Scratch("next_sentence.first", {B, C});
  pre_activation_ = build.Scratch("next_sentence.pre_activation", {B, C});
  pooled_ = build.Scratch("next_sentence.pooled", {B, C});
  logits_ = reserve("next_sentence.logits", wide, {B, kClasses});
  if (!build.train) return;
  dlogits_ = build.Scratch("next_sentence.dlogits", {B, kClasses});
  dpooled_ = build.Scratch("next_sentence.dpooled", {B, C});
  dfirst_ = build.Scratch("next_sentence.dfirst", {B, C});
}

void NextSentenceHead::Bind(const ParameterStore& parameters) {
  pooler_.Bind({.weight = parameters.Working(pooler_weight_),
                .bias = parameters.Working(pooler_bias_),
                .weight_gradient = parameters.Gradient(pooler_weight_),
                .bias_gradient = parameters.Gradient(pooler_bias_)});
  classifier_.Bind({.weight = parameters.Working(classifier_weight_),
                    .bias = parameters.Working(classifier_bias_),
                    .weight_gradient = parameters.Gradient(classifier_weight_),
                    .bias_gradient = parameters.Gradient(classifier_bias_)});
}

void NextSentenceHead::WeightsChanged() {
  pooler_.WeightsChanged();
  classifier_.WeightsChanged();
}

absl::Status NextSentenceHead::Forward(ExecutionContext& context, const ForwardPass& pass,
                                       const TensorView& hidden, const TensorView& labels,
                                       double weight, const TensorView& dhidden, LossSums* sums) {
  const int64_t B = pass.B;
  CHECK_EQ(labels.elements(), B);
  for (int64_t b = 0; b < B; ++b) {
    host_rows_[b] = static_cast<int32_t>(b * pass.T + pass.registers);
  }
  const TensorView rows = rows_->Prefix({B});
  RETURN_IF_ERROR(
      CopyValues(context.device(), std::span<const int32_t>(host_rows_).first(B), rows));
  const Shape shape{B, hidden_size_};
  const TensorView first = first_->Prefix(shape), pooled = pooled_->Prefix(shape);
  const TensorView pre_activation = pre_activation_->Prefix(shape);
  const TensorView logits = logits_->Prefix({B, kClasses});
  RETURN_IF_ERROR(ops::RowGather(context, hidden, rows, first));
  RETURN_IF_ERROR(pooler_.Forward(context, first, pre_activation));
  RETURN_IF_ERROR(ops::ActivationForward(context, Activation::kTanh, pre_activation, pooled));
  RETURN_IF_ERROR(classifier_.ForwardLogits(context, pooled, logits));
  const TensorView dlogits = dhidden.null() ? TensorView() : dlogits_->Prefix({B, kClasses});
  RETURN_IF_ERROR(ops::Run(context, ops::CrossEntropy{.logits = logits,
                                                      .targets = labels,
                                                      .dlogits = dlogits,
                                                      .gradient_scale = weight,
                                                      .loss_sum = &sums->loss,
                                                      .target_count = &sums->targets,
                                                      .correct_count = &sums->correct,
                                                      .dtype = hidden.dtype()}));
  if (dhidden.null()) return absl::OkStatus();

  const TensorView dpooled = dpooled_->Prefix(shape), dfirst = dfirst_->Prefix(shape);
  RETURN_IF_ERROR(classifier_.BackwardWeight(context, pooled, dlogits));
  RETURN_IF_ERROR(classifier_.BackwardInput(context, dlogits, dpooled, /*accumulate=*/false));
  RETURN_IF_ERROR(
      ops::ActivationBackward(context, Activation::kTanh, pre_activation, dpooled, dpooled));
  RETURN_IF_ERROR(pooler_.BackwardWeight(context, first, dpooled));
  // First tokens may carry the language model's gradient too: gather it, add, put it back.
  RETURN_IF_ERROR(ops::RowGather(context, dhidden, rows, dfirst));
  RETURN_IF_ERROR(pooler_.BackwardInput(context, dpooled, dfirst, /*accumulate=*/true));
  return ops::RowScatter(context, dfirst, rows, dhidden);
}

}  // namespace sluice
