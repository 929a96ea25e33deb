// A sum of embeddings as its kernels take it, alone or with what follows it. For ops only.
#pragma once

#include <cstdint>

#include "core/check.h"
#include "kernels/api/embedding.h"
#include "ops/embedding.h"

namespace sluice::ops {

inline void CheckEmbedding(const EmbeddingForward& call) {
  const int64_t N = call.tokens.elements(), T_ = call.tokens.dim(-1), C = call.y.dim(-1);
  const int64_t R = call.register_table.null() ? 0 : call.register_table.dim(0);
  CHECK_EQ(call.y.rows(), N / T_ * (R + T_));
  CHECK_EQ(call.token_table.null(), !call.projected.null());
  CHECK_EQ((call.token_table.null() ? call.projected : call.token_table).dim(-1), C);
  CHECK_GE(call.position_table.dim(0), call.position_offset + T_);
}

template <typename T>
EmbeddingForwardArgs<T> EmbeddingArguments(const EmbeddingForward& call) {
  return {.tokens = call.tokens.as<int32_t>(),
          .segments = call.segments.as<int32_t>(),
          .token_table = call.token_table.as<T>(),
          .projected = call.projected.as<T>(),
          .position_table = call.position_table.as<T>(),
          .segment_table = call.segment_table.as<T>(),
          .register_table = call.register_table.as<T>(),
          .y = call.y.as<T>(),
          .N = call.tokens.elements(),
          .T_ = call.tokens.dim(-1),
          .C = call.y.dim(-1),
          .R = call.register_table.null() ? 0 : call.register_table.dim(0),
          .position_offset = call.position_offset};
}

}  // namespace sluice::ops
