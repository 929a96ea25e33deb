// How many floating-point operations the matrix products of a model take: what "share of the
// measured matmul rate" counts. Elementwise work is not counted: it is what keeps the share below
// 100 %.
#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace sluice {

// Multiply and add count as two. Per token of a row of `length` tokens, forward only; backward
// takes twice as much. Register rows count with the tokens that they stand before.
struct OperationsPerToken {
  double projections = 0;  // QKV, attention output, feed-forward: 2 · L · (4 C² + 2 C I); and 2 · C
                           // E where the token table is projected
  double attention = 0;  // Q·Kᵀ and P·V: 4 · L · T · C, causal 2 · L · (T + 1) · C
  double gates = 0;  // a gated layer: 2 · outputs · inputs of the gate; 2 · (C + H) · K of a
                     // perceptron
  double head = 0;   // target share · 2 · (E V, + C² for BERT's transform, + C E projected)
  double forward() const { return projections + attention + gates + head; }
  double training() const { return 3 * forward(); }
};

// Share of a batch's tokens that the loss looks at: mlm_probability of a masked model; all of
// generated data, and all but a row's last token otherwise, of a causal one.
double ExpectedTargetShare(const RunConfig& config);

OperationsPerToken CountOperations(const ModelConfig& model, int64_t length, double target_share);

}  // namespace sluice
