#include "model/language_model_head.h"

#include <algorithm>
#include <span>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "model/device_batch.h"
#include "ops/activation.h"
#include "ops/cross_entropy.h"
#include "ops/row_gather.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

constexpr int64_t kChunkBytes = int64_t{192} << 20;

// Enough rows for a batch of usual luck in one chunk; where its logits would be larger than
// kChunkBytes, equal chunks that are not.
int64_t ChunkRows(int64_t tokens, double target_share, int64_t vocab_size) {
  // Where not all tokens are targets, their number varies.
  const double slack = target_share < 1 ? 1.2 * target_share : 1;
  const int64_t usual = static_cast<int64_t>(slack * static_cast<double>(tokens)) +
                        (target_share < 1 ? kTargetRowMultiple : 0);
  const int64_t affordable = std::max(
      kChunkBytes / (vocab_size * 4) / kTargetRowMultiple * kTargetRowMultiple, kTargetRowMultiple);
  const int64_t chunks = CeilDiv(std::max<int64_t>(usual, 1), affordable);
  return RoundUp(CeilDiv(std::max<int64_t>(usual, 1), chunks), kTargetRowMultiple);
}

}  // namespace

LanguageModelHead::LanguageModelHead(const ModelBuild& build, const Architecture& architecture,
                                     const ModelConfig& config, double expected_target_share)
    : architecture_(architecture),
      hidden_size_(config.hidden_size),
      embedding_size_(architecture.tied_decoder ? architecture.embedding_size : config.hidden_size),
      vocab_size_(config.vocab_size),
      chunk_rows_(
          ChunkRows(build.max_batch * build.length, expected_target_share, config.vocab_size)) {
  const int64_t C = hidden_size_, E = embedding_size_, V = vocab_size_, M = chunk_rows_;
  // What this head's parts see of the model: M rows of their own.
  ModelBuild rows = build;
  rows.max_batch = 1;
  rows.length = M;
  rows.registers = 0;
  rows.activations = MemoryPurpose::kScratch;
  if (architecture.decoder_bias) {
    decoder_bias_ = build.parameters.Add(architecture.decoder_bias_name + ".bias", {V}, {});
  }
  if (!architecture.tied_decoder) {
    decoder_weight_ = build.parameters.Add(architecture.decoder_weight + ".weight", {V, E},
                                           architecture.head.Weight(E));
  }
  const std::string name = architecture.head_transform_name;
  if (architecture.head_transform) {
    transform_norm_ = std::make_unique<ResidualNorm>(rows, name + ".LayerNorm", C,
                                                     static_cast<float>(config.layer_norm_eps));
    transform_.Add(rows, name + ".dense", M, {C, C, architecture.head, /*bias=*/true});
    pre_activation_ = rows.Scratch("head.pre_activation", {M, C});
    normed_ = ResidualNorm::PlanActivations(rows, "head", C);
  }
  if (E != C) {
    project_out_.Add(rows, architecture.project_out, M, {C, E, architecture.head, /*bias=*/false});
    projected_ = rows.Scratch("head.projected", {M, E});
  }
  gradient_end_ = build.parameters.flat_elements();

  decoder_.Plan(build.context, build.arena, "decoder", build.dtype, {M, E, V}, build.train);
  auto reserve = [&](absl::string_view part, DType dtype, const Shape& shape) {
    return build.arena.Reserve(part, MemoryPurpose::kScratch, dtype, shape);
  };
  const DType wide = AccumulatorDType(build.dtype);
  rows_ = reserve("head.rows", DType::kInt32, {M});
  ops::PlanCrossEntropy(build.context, M);
  gathered_ = rows.Scratch("head.gathered", {M, C});
  logits_ = reserve("head.logits", wide, {M, V});
  if (!build.train) return;
  dlogits_ = build.dtype == wide ? logits_ : reserve("head.dlogits", build.dtype, {M, V});
  ddecoded_ = rows.Scratch("head.ddecoded", {M, E});
}

void LanguageModelHead::Bind(const ParameterStore& parameters, int token_table) {
  const int weight = architecture_.tied_decoder ? token_table : decoder_weight_;
  const bool has_bias = decoder_bias_ >= 0;
  decoder_.Bind({.weight = parameters.Working(weight),
                 .bias = has_bias ? parameters.Working(decoder_bias_) : TensorView(),
                 .weight_gradient = parameters.Gradient(weight),
                 .bias_gradient = has_bias ? parameters.Gradient(decoder_bias_) : TensorView()});
  if (transform_norm_ != nullptr) {
    transform_norm_->Bind(parameters);
    transform_.Bind(parameters);
  }
  if (projected_ != nullptr) project_out_.Bind(parameters);
}

void LanguageModelHead::WeightsChanged() {
  decoder_.WeightsChanged();
  if (transform_norm_ != nullptr) transform_.WeightsChanged();
  if (projected_ != nullptr) project_out_.WeightsChanged();
}

LanguageModelHead::Chunk LanguageModelHead::ChunkOf(const ForwardCall& call, int64_t begin) const {
  // Chunks are as the rows a multiple of kTargetRowMultiple.
  const int64_t M = std::min(chunk_rows_, call.rows.elements() - begin);
  const auto part = [&](const TensorView& all) {
    return TensorView(all.as<int32_t>() + begin, DType::kInt32, {M});
  };
  return {part(call.rows), part(call.targets), M};
}

absl::StatusOr<TensorView> LanguageModelHead::Transform(ExecutionContext& context,
                                                        const TensorView& hidden,
                                                        const Chunk& chunk) {
  const Shape shape{chunk.M, hidden_size_};
  const TensorView gathered = gathered_->Prefix(shape);
  RETURN_IF_ERROR(ops::RowGather(context, hidden, chunk.rows, gathered));
  TensorView decoded = gathered;
  if (transform_norm_ != nullptr) {
    const TensorView pre_activation = pre_activation_->Prefix(shape);
    RETURN_IF_ERROR(transform_.Forward(context, gathered, pre_activation));
    RETURN_IF_ERROR(ops::ActivationForward(context, architecture_.activation, pre_activation,
                                           normed_.sum->Prefix(shape)));
    RETURN_IF_ERROR(transform_norm_->Forward(context, {.rows = chunk.M}, normed_));
    decoded = normed_.y->Prefix(shape);
  }
  if (projected_ != nullptr) {
    const TensorView projected = projected_->Prefix({chunk.M, embedding_size_});
    RETURN_IF_ERROR(project_out_.Forward(context, decoded, projected));
    decoded = projected;
  }
  return decoded;
}

absl::StatusOr<TensorView> LanguageModelHead::TransformBackward(ExecutionContext& context,
                                                                const Chunk& chunk,
                                                                const TensorView& ddecoded) {
  const Shape shape{chunk.M, hidden_size_};
  const TensorView gathered = gathered_->Prefix(shape);
  if (projected_ != nullptr) {
    // Without a transform the decoder's input was the gathered rows; their memory takes the
    // gradient once the weight's is done.
    RETURN_IF_ERROR(project_out_.BackwardWeight(context, gathered, ddecoded));
    RETURN_IF_ERROR(project_out_.BackwardInput(context, ddecoded, gathered, /*accumulate=*/false));
    return gathered;
  }
  if (transform_norm_ == nullptr) return ddecoded;
  RETURN_IF_ERROR(
      transform_norm_
          ->Backward(
              context, normed_,
              {.dy = ddecoded, .dsum_in = {}, .dresidual = ddecoded, .dbranch = {}, .dropout = {}})
          .status());
  RETURN_IF_ERROR(ops::ActivationBackward(context, architecture_.activation,
                                          pre_activation_->Prefix(shape), ddecoded, ddecoded));
  RETURN_IF_ERROR(transform_.BackwardWeight(context, gathered, ddecoded));
  // The activated values are not needed any more: their memory takes the gradient of the gathered
  // rows.
  const TensorView drows = normed_.sum->Prefix(shape);
  RETURN_IF_ERROR(transform_.BackwardInput(context, ddecoded, drows, /*accumulate=*/false));
  return drows;
}

absl::Status LanguageModelHead::BackwardChunk(ExecutionContext& context, const Chunk& chunk,
                                              const TensorView& decoded, const TensorView& dlogits,
                                              const TensorView& dhidden) {
  const TensorView ddecoded = ddecoded_->Prefix({chunk.M, embedding_size_});
  RETURN_IF_ERROR(decoder_.BackwardWeight(context, decoded, dlogits));
  RETURN_IF_ERROR(decoder_.BackwardInput(context, dlogits, ddecoded, /*accumulate=*/false));
  ASSIGN_OR_RETURN(const TensorView drows, TransformBackward(context, chunk, ddecoded));
  return ops::RowScatter(context, drows, chunk.rows, dhidden);
}

absl::Status LanguageModelHead::Forward(ExecutionContext& context, const ForwardCall& call,
                                        LossSums* sums) {
  if (call.rows.null()) return absl::OkStatus();
  CHECK_EQ(call.rows.elements(), call.targets.elements());
  const bool backward = !call.dhidden.null();
  for (int64_t begin = 0; begin < call.rows.elements(); begin += chunk_rows_) {
    const Chunk chunk = ChunkOf(call, begin);
    const Shape shape{chunk.M, vocab_size_};
    const TensorView logits = logits_->Prefix(shape);
    const TensorView dlogits = backward ? dlogits_->Prefix(shape) : TensorView();
    ASSIGN_OR_RETURN(const TensorView decoded, Transform(context, call.hidden, chunk));
    RETURN_IF_ERROR(decoder_.ForwardLogits(context, decoded, logits));
    RETURN_IF_ERROR(ops::Run(context, ops::CrossEntropy{.logits = logits,
                                                        .targets = chunk.targets,
                                                        .dlogits = dlogits,
                                                        .gradient_scale = call.gradient_scale,
                                                        .loss_sum = &sums->loss,
                                                        .target_count = &sums->targets,
                                                        .correct_count = &sums->correct,
                                                        .dtype = call.hidden.dtype()}));
    if (backward) {
      RETURN_IF_ERROR(BackwardChunk(context, chunk, decoded, dlogits, call.dhidden));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView> LanguageModelHead::Logits(ExecutionContext& context,
                                                     const ForwardPass& pass,
                                                     const TensorView& hidden,
                                                     const std::vector<int32_t>& positions) {
  CHECK_LE(std::ssize(positions), chunk_rows_);
  CHECK(!positions.empty());
  const int64_t M = RoundUp(std::ssize(positions), kTargetRowMultiple);
  host_rows_.assign(M, -1);
  std::transform(positions.begin(), positions.end(), host_rows_.begin(),
                 [&](int32_t token) { return static_cast<int32_t>(pass.RowOfToken(token)); });
  const Chunk chunk = {rows_->Prefix({M}), TensorView(), M};
  RETURN_IF_ERROR(CopyValues(context.device(), std::span<const int32_t>(host_rows_), chunk.rows));
  ASSIGN_OR_RETURN(const TensorView decoded, Transform(context, hidden, chunk));
  const TensorView logits = logits_->Prefix({chunk.M, vocab_size_});
  RETURN_IF_ERROR(decoder_.ForwardLogits(context, decoded, logits));
  return logits_->Prefix({std::ssize(positions), vocab_size_});
}

}  // namespace sluice
