#include "model/masked_lm_head.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/activation.h"
#include "ops/cross_entropy.h"
#include "ops/layer_norm.h"
#include "ops/row_gather.h"

namespace sluice {
namespace {

constexpr int64_t kRowMultiple = 64;  // few distinct sizes: few GEMM primitives
constexpr int64_t kChunkBytes = int64_t{192} << 20;

// Enough rows for a batch of usual luck in one chunk, unless its logits would be larger than
// kChunkBytes.
int64_t ChunkRows(int64_t tokens, double target_share, int64_t vocab_size) {
  const auto usual =
      static_cast<int64_t>(1.2 * target_share * static_cast<double>(tokens)) + kRowMultiple;
  const int64_t affordable = kChunkBytes / (vocab_size * 4) / kRowMultiple * kRowMultiple;
  return std::clamp(RoundUp(usual, kRowMultiple), kRowMultiple, std::max(affordable, kRowMultiple));
}

}  // namespace

MaskedLmHead::MaskedLmHead(const ModelBuild& build, const std::string& name,
                           const MaskedLmHeadConfig& config)
    : config_(config),
      gradient_begin_(build.parameters.flat_elements()),
      chunk_rows_(ChunkRows(build.max_tokens(), config.expected_target_share, config.vocab_size)) {
  const int64_t C = config.hidden_size, V = config.vocab_size, M = chunk_rows_;
  ParameterStore& parameters = build.parameters;
  decoder_bias_ = parameters.Add(name + ".bias", {V}, {});
  norm_weight_ =
      parameters.Add(name + ".transform.LayerNorm.weight", {C}, {InitialValues::Kind::kOne});
  norm_bias_ = parameters.Add(name + ".transform.LayerNorm.bias", {C}, {});
  transform_weight_ = parameters.Add(name + ".transform.dense.weight", {C, C}, config.weight);
  transform_bias_ = parameters.Add(name + ".transform.dense.bias", {C}, {});
  gradient_end_ = parameters.flat_elements();

  transform_.Plan(build.context, build.arena, name + ".transform", build.dtype, {M, C, C},
                  build.train);
  decoder_.Plan(build.context, build.arena, name + ".decoder", build.dtype, {M, C, V}, build.train);
  auto scratch = [&](absl::string_view part, DType dtype, const Shape& shape) {
    return build.arena.Reserve(name + std::string(part), MemoryPurpose::kScratch, dtype, shape);
  };
  const DType wide = AccumulatorDType(build.dtype);
  rows_ = scratch(".rows", DType::kInt32, {M});
  targets_ = scratch(".targets", DType::kInt32, {M});
  gathered_ = scratch(".gathered", build.dtype, {M, C});
  pre_activation_ = scratch(".pre_activation", build.dtype, {M, C});
  activated_ = scratch(".activated", build.dtype, {M, C});
  normed_ = scratch(".normed", build.dtype, {M, C});
  mean_ = scratch(".mean", wide, {M});
  rstd_ = scratch(".rstd", wide, {M});
  logits_ = scratch(".logits", wide, {M, V});
  if (!build.train) return;
  dlogits_ = build.dtype == wide ? logits_ : scratch(".dlogits", build.dtype, {M, V});
  dnormed_ = scratch(".dnormed", build.dtype, {M, C});
  ops::PlanLayerNorm(build.context, M, C);
}

void MaskedLmHead::Bind(const ParameterStore& parameters, int token_table) {
  parameters_ = &parameters;
  transform_.Bind({.weight = parameters.Working(transform_weight_),
                   .bias = parameters.Working(transform_bias_),
                   .weight_gradient = parameters.Gradient(transform_weight_),
                   .bias_gradient = parameters.Gradient(transform_bias_)});
  decoder_.Bind({.weight = parameters.Working(token_table),
                 .bias = parameters.Working(decoder_bias_),
                 .weight_gradient = parameters.Gradient(token_table),
                 .bias_gradient = parameters.Gradient(decoder_bias_)});
}

void MaskedLmHead::WeightsChanged() {
  transform_.WeightsChanged();
  decoder_.WeightsChanged();
}

MaskedLmHead::Chunk MaskedLmHead::LoadChunk(const std::vector<int32_t>& positions,
                                            const std::vector<int32_t>* targets, int64_t begin) {
  const int64_t count = std::min<int64_t>(chunk_rows_, std::ssize(positions) - begin);
  const int64_t M = RoundUp(count, kRowMultiple);
  int32_t* rows = rows_->as<int32_t>();
  int32_t* chunk_targets = targets_->as<int32_t>();
  for (int64_t m = 0; m < M; ++m) {
    rows[m] = m < count ? positions[begin + m] : -1;
    chunk_targets[m] = m < count && targets != nullptr ? (*targets)[begin + m] : -1;
  }
  return {rows_->Prefix({M}), targets_->Prefix({M}), M};
}

absl::Status MaskedLmHead::ForwardChunk(ExecutionContext& context, const TensorView& hidden,
                                        const Chunk& chunk) {
  const Shape shape{chunk.M, config_.hidden_size};
  const TensorView gathered = gathered_->Prefix(shape);
  const TensorView pre_activation = pre_activation_->Prefix(shape);
  const TensorView activated = activated_->Prefix(shape);
  const TensorView normed = normed_->Prefix(shape);
  RETURN_IF_ERROR(ops::RowGather(context, hidden, chunk.rows, gathered));
  RETURN_IF_ERROR(transform_.Forward(context, gathered, pre_activation));
  RETURN_IF_ERROR(ops::ActivationForward(context, config_.activation, pre_activation, activated));
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormForward{.x = activated,
                                              .residual = {},
                                              .weight = parameters_->Working(norm_weight_),
                                              .bias = parameters_->Working(norm_bias_),
                                              .sum = {},
                                              .y = normed,
                                              .mean = mean_->Prefix({chunk.M}),
                                              .rstd = rstd_->Prefix({chunk.M}),
                                              .eps = config_.layer_norm_eps}));
  return decoder_.ForwardLogits(context, normed, logits_->Prefix({chunk.M, config_.vocab_size}));
}

absl::Status MaskedLmHead::BackwardChunk(ExecutionContext& context, const Chunk& chunk,
                                         const TensorView& dlogits, const TensorView& dhidden) {
  const Shape shape{chunk.M, config_.hidden_size};
  const TensorView gathered = gathered_->Prefix(shape);
  const TensorView activated = activated_->Prefix(shape);
  const TensorView dnormed = dnormed_->Prefix(shape);
  RETURN_IF_ERROR(decoder_.BackwardWeight(context, normed_->Prefix(shape), dlogits));
  RETURN_IF_ERROR(decoder_.BackwardInput(context, dlogits, dnormed, /*accumulate=*/false));
  RETURN_IF_ERROR(
      ops::Run(context, ops::LayerNormBackward{.dy = dnormed,
                                               .dsum_in = {},
                                               .sum = activated,
                                               .weight = parameters_->Working(norm_weight_),
                                               .mean = mean_->Prefix({chunk.M}),
                                               .rstd = rstd_->Prefix({chunk.M}),
                                               .dsum = dnormed,
                                               .dx = {},
                                               .dweight = parameters_->Gradient(norm_weight_),
                                               .dbias = parameters_->Gradient(norm_bias_)}));
  RETURN_IF_ERROR(ops::ActivationBackward(context, config_.activation,
                                          pre_activation_->Prefix(shape), dnormed, dnormed));
  RETURN_IF_ERROR(transform_.BackwardWeight(context, gathered, dnormed));
  // The activated values are not needed any more: their memory takes the gradient of the gathered
  // rows.
  RETURN_IF_ERROR(transform_.BackwardInput(context, dnormed, activated, /*accumulate=*/false));
  return ops::RowScatter(context, activated, chunk.rows, dhidden);
}

absl::Status MaskedLmHead::Forward(ExecutionContext& context, const TensorView& hidden,
                                   const std::vector<int32_t>& positions,
                                   const std::vector<int32_t>& targets, const TensorView& dhidden,
                                   LossSums& sums) {
  CHECK_EQ(positions.size(), targets.size());
  for (int64_t begin = 0; begin < std::ssize(positions); begin += chunk_rows_) {
    const Chunk chunk = LoadChunk(positions, &targets, begin);
    RETURN_IF_ERROR(ForwardChunk(context, hidden, chunk));
    const Shape shape{chunk.M, config_.vocab_size};
    const TensorView dlogits = dhidden.null() ? TensorView() : dlogits_->Prefix(shape);
    RETURN_IF_ERROR(ops::Run(context, ops::CrossEntropy{.logits = logits_->Prefix(shape),
                                                        .targets = chunk.targets,
                                                        .dlogits = dlogits,
                                                        .loss_sum = &sums.loss,
                                                        .target_count = &sums.targets,
                                                        .correct_count = &sums.correct,
                                                        .dtype = hidden.dtype()}));
    if (!dhidden.null()) RETURN_IF_ERROR(BackwardChunk(context, chunk, dlogits, dhidden));
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView> MaskedLmHead::Logits(ExecutionContext& context, const TensorView& hidden,
                                                const std::vector<int32_t>& positions) {
  CHECK_LE(std::ssize(positions), chunk_rows_);
  CHECK(!positions.empty());
  const Chunk chunk = LoadChunk(positions, nullptr, 0);
  RETURN_IF_ERROR(ForwardChunk(context, hidden, chunk));
  return logits_->Prefix({std::ssize(positions), config_.vocab_size});
}

}  // namespace sluice
