#include "model/input_embedding.h"

#include "core/check.h"
#include "core/status.h"
#include "ops/dropout.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/row_gather.h"

namespace sluice {

InputEmbedding::InputEmbedding(const ModelBuild& build, const Architecture& architecture,
                               const ModelConfig& config)
    : hidden_size_(config.hidden_size),
      embedding_size_(architecture.embedding_size),
      position_offset_(architecture.position_offset),
      norm_placement_(architecture.norm_placement),
      dropout_prob_(architecture.embedding_dropout ? config.hidden_dropout_prob : 0),
      gradient_begin_(build.parameters.flat_elements()),
      norm_(build, architecture.input_norm, config.hidden_size,
            static_cast<float>(config.layer_norm_eps)),
      saved_(ResidualNorm::PlanActivations(build, "embeddings", config.hidden_size)) {
  const int64_t C = hidden_size_, E = embedding_size_;
  const int64_t tokens = build.max_batch * build.length;
  ParameterStore& parameters = build.parameters;
  InitialValues table = architecture.embedding.Weight(C);
  auto add_table = [&](const std::string& name, int64_t rows, int64_t columns) {
    return parameters.Add(name + ".weight", {rows, columns}, table);
  };
  if (build.registers > 0) {
    register_table_ = add_table(architecture.register_table, build.registers, C);
  }
  if (architecture.token_types) {
    segment_table_ = add_table(architecture.segment_table, config.type_vocab_size, C);
    no_position_ = build.Scratch("embeddings.no_position", {1, C});
  }
  position_table_ =
      add_table(architecture.position_table, config.max_position_embeddings + position_offset_, C);
  if (projects()) {
    project_in_.Add(build, architecture.project_in, tokens,
                    {E, C, architecture.head, /*bias=*/false});
    embedded_ = build.Activation("embeddings.tokens", {tokens, E});
    projected_ = build.Scratch("embeddings.projected", {tokens, C});
  }
  table.zero_row = architecture.padding_id;
  token_table_ = add_table(architecture.token_table, config.vocab_size, E);
  if (!build.train) return;
  const int64_t S = architecture.token_types ? config.type_vocab_size : 0;
  ops::PlanEmbedding(build.context, {tokens, C, config.vocab_size, S});
  if (projects()) ops::PlanEmbedding(build.context, {tokens, E, config.vocab_size, /*S=*/0});
}

void InputEmbedding::Bind(const ParameterStore& parameters) {
  parameters_ = &parameters;
  norm_.Bind(parameters);
  if (projects()) project_in_.Bind(parameters);
}

void InputEmbedding::WeightsChanged() {
  if (projects()) project_in_.WeightsChanged();
}

Dropout InputEmbedding::OutputDropout(const ForwardPass& pass) const {
  return MakeDropout(pass, dropout_prob_, /*layer=*/-1, DropoutSite::kEmbedding);
}

bool InputEmbedding::TakenApart(const ForwardPass& pass) {
  return pass.observer != nullptr && pass.observer->changes_values() &&
         pass.observer->Wants(observed::kTokenEmbedding);
}

// The tokens' part of the sum as it is shown to `observer` and left by it: rows of the token table,
// and where there are segments the sum with theirs. (B·T, C), in memory of saved_, which is written
// later; a position of zeros lets the sum's kernel leave positions out.
absl::StatusOr<TensorView> InputEmbedding::ShownTokens(ExecutionContext& context,
                                                       const ForwardPass& pass,
                                                       const TensorView& tokens,
                                                       const TensorView& segments) {
  CHECK(!projects()) << "rows of a projected token table are not shown";
  const int64_t count = tokens.elements();
  const bool has_segments = segment_table_ >= 0;
  const TensorView with_segments = saved_.y->Prefix({count, hidden_size_});
  const TensorView rows = has_segments ? saved_.sum->Prefix({count, hidden_size_}) : with_segments;
  RETURN_IF_ERROR(ops::RowGather(context, parameters_->Working(token_table_), tokens, rows));
  RETURN_IF_ERROR(Show(context, pass.observer, /*layer=*/-1, observed::kTokenEmbedding, rows));
  if (!has_segments) return rows;
  RETURN_IF_ERROR(ops::Zero(context, *no_position_));
  RETURN_IF_ERROR(ops::Run(
      context,
      ops::EmbeddingForward{.tokens = tokens.Prefix({count, 1}),
                            .segments = segments.null() ? segments : segments.Prefix({count, 1}),
                            .token_table = {},
                            .projected = rows,
                            .position_table = *no_position_,
                            .segment_table = parameters_->Working(segment_table_),
                            .register_table = {},
                            .y = with_segments}));
  RETURN_IF_ERROR(
      Show(context, pass.observer, /*layer=*/-1, observed::kTokenAndSegment, with_segments));
  return with_segments;
}

absl::StatusOr<ops::EmbeddingForward> InputEmbedding::Parts(ExecutionContext& context,
                                                            const ForwardPass& pass,
                                                            const TensorView& tokens,
                                                            const TensorView& segments) {
  auto working = [&](int index) { return index < 0 ? TensorView() : parameters_->Working(index); };
  const bool shown = TakenApart(pass);
  TensorView projected;
  if (shown) {
    ASSIGN_OR_RETURN(projected, ShownTokens(context, pass, tokens, segments));
  } else if (projects()) {
    const TensorView embedded = embedded_->Prefix({tokens.elements(), embedding_size_});
    projected = projected_->Prefix({tokens.elements(), hidden_size_});
    RETURN_IF_ERROR(ops::RowGather(context, working(token_table_), tokens, embedded));
    RETURN_IF_ERROR(project_in_.Forward(context, embedded, projected));
  }
  return ops::EmbeddingForward{
      .tokens = tokens,
      .segments = segments,
      .token_table = projected.null() ? working(token_table_) : TensorView(),
      .projected = projected,
      .position_table = working(position_table_),
      .segment_table = shown ? TensorView() : working(segment_table_),
      .register_table = working(register_table_),
      .y = {},
      .position_offset = position_offset_};
}

absl::StatusOr<Stream> InputEmbedding::Forward(ExecutionContext& context, const ForwardPass& pass,
                                               const TensorView& tokens,
                                               const TensorView& segments) {
  ASSIGN_OR_RETURN(const ops::EmbeddingForward parts, Parts(context, pass, tokens, segments));
  RETURN_IF_ERROR(norm_.ForwardEmbedding(
      context,
      {.rows = pass.rows(),
       .embedding = parts,
       .projected_in_y = TakenApart(pass),
       .dropout = OutputDropout(pass),
       .look = {pass.observer, /*layer=*/-1, observed::kEmbeddingSum, observed::kEmbeddingNorm}},
      saved_));
  const Shape shape{pass.rows(), hidden_size_};
  const TensorView y = saved_.y->Prefix(shape);
  return Stream{y, norm_placement_ == NormPlacement::kPostNorm ? y : saved_.sum->Prefix(shape)};
}

absl::Status InputEmbedding::Backward(ExecutionContext& context, const ForwardPass& pass,
                                      const TensorView& tokens, const TensorView& segments,
                                      const Stream& dy) {
  const Dropout dropout = OutputDropout(pass);
  if (dropout.enabled()) {
    RETURN_IF_ERROR(ops::DropoutForward(context, dropout, dy.normed, dy.normed));
  }
  RETURN_IF_ERROR(norm_
                      .Backward(context, saved_,
                                {.dy = dy.normed,
                                 .dsum_in = dy.residual,
                                 .dresidual = dy.normed,
                                 .dbranch = {},
                                 .dropout = {}})
                      .status());
  auto gradient = [&](int index) {
    return index < 0 ? TensorView() : parameters_->Gradient(index);
  };
  TensorView dprojected;
  if (projects()) dprojected = projected_->Prefix({tokens.elements(), hidden_size_});
  RETURN_IF_ERROR(ops::Run(
      context,
      ops::EmbeddingBackward{.tokens = tokens,
                             .segments = segments,
                             .dy = dy.normed,
                             .dtoken_table = projects() ? TensorView() : gradient(token_table_),
                             .dprojected = dprojected,
                             .dposition_table = gradient(position_table_),
                             .dsegment_table = gradient(segment_table_),
                             .dregister_table = gradient(register_table_),
                             .position_offset = position_offset_}));
  if (!projects()) return absl::OkStatus();
  const TensorView embedded = embedded_->Prefix({tokens.elements(), embedding_size_});
  RETURN_IF_ERROR(project_in_.BackwardWeight(context, embedded, dprojected));
  // The embedded tokens are not needed any more: their memory takes their gradient.
  RETURN_IF_ERROR(project_in_.BackwardInput(context, dprojected, embedded, /*accumulate=*/false));
  return ops::Run(context, ops::EmbeddingBackward{.tokens = tokens,
                                                  .segments = {},
                                                  .dy = embedded,
                                                  .dtoken_table = gradient(token_table_),
                                                  .dprojected = {},
                                                  .dposition_table = {},
                                                  .dsegment_table = {},
                                                  .dregister_table = {}});
}

}  // namespace sluice
