#include "ops/embedding.h"

#include "kernels/api/embedding.h"
#include "ops/dispatch.h"
#include "ops/embedding_arguments.h"

namespace sluice::ops {
namespace {

int64_t Rows(const TensorView& table) { return table.null() ? 0 : table.dim(0); }

int64_t BackwardWorkspaceBytes(const ExecutionContext& context, const EmbeddingDims& dims) {
  return context.on_cuda() ? cuda::EmbeddingBackwardWorkspaceBytes(dims.N, dims.C, dims.S)
                           : EmbeddingBackwardWorkspaceBytes(dims.N, dims.V);
}

}  // namespace

absl::Status Run(ExecutionContext& context, const EmbeddingForward& call) {
  CheckEmbedding(call);
  return Dispatch(
      context, "embedding forward", call.y.dtype(),
      [&]<typename T>() { return EmbeddingArguments<T>(call); }, SLUICE_KERNELS(EmbeddingForward));
}

absl::Status Run(ExecutionContext& context, const EmbeddingBackward& call) {
  const int64_t N = call.tokens.elements(), T_ = call.tokens.dim(-1), C = call.dy.dim(-1);
  const int64_t V = Rows(call.dtoken_table), R = call.dy.rows() / (N / T_) - T_;
  CHECK_EQ(call.dy.rows(), N / T_ * (R + T_));
  if (!call.dtoken_table.null()) CHECK_EQ(call.dtoken_table.dim(-1), C);
  if (!call.dregister_table.null()) CHECK_EQ(call.dregister_table.dim(0), R);
  return Dispatch(
      context, "embedding backward", call.dy.dtype(),
      [&]<typename T>() {
        return EmbeddingBackwardArgs<T>{
            .tokens = call.tokens.as<int32_t>(),
            .segments = call.segments.as<int32_t>(),
            .dy = call.dy.as<T>(),
            .dtoken_table = call.dtoken_table.as<Accumulator<T>>(),
            .dprojected = call.dprojected.as<T>(),
            .dposition_table = call.dposition_table.as<Accumulator<T>>(),
            .dsegment_table = call.dsegment_table.as<Accumulator<T>>(),
            .dregister_table = call.dregister_table.as<Accumulator<T>>(),
            .workspace = context.workspace(
                BackwardWorkspaceBytes(context, {N, C, V, Rows(call.dsegment_table)})),
            .N = N,
            .T_ = T_,
            .C = C,
            .V = V,
            .S = Rows(call.dsegment_table),
            .R = R,
            .position_offset = call.position_offset};
      },
      SLUICE_KERNELS(EmbeddingBackward));
}

void PlanEmbedding(ExecutionContext& context, const EmbeddingDims& dims) {
  context.NeedWorkspace(BackwardWorkspaceBytes(context, dims));
}

}  // namespace sluice::ops
