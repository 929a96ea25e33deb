// Attention in steps, so that what lies between them can be changed: scores, probabilities,
// context. Every variant of kernels/api/attention.h, without dropout; fp32, on the host. Whole rows
// of scores are in memory for the sequences at hand.
#pragma once

#include <functional>
#include <vector>

#include "model/observer.h"

namespace sluice {

// Each is called with what it may change, once for all sequences at hand.
struct AttentionSteps {
  // (sequences · H · T, K): ⟨q, k⟩ / sqrt(D) of every pair, masked ones included; K = T, or T + 1
  // with the sink token before the keys.
  std::function<void(const TensorView&)> scores;
  // The same shape: behind the softmax and its clipping; 0 where masked. A sink's logit has none.
  std::function<void(const TensorView&)> probabilities;
  // (sequences · T, C): heads merged, before a gate at the query site; null: nobody asks.
  std::function<void(const TensorView&)> context;
};

class StepwiseAttention {
 public:
  // Overwrites attention.context. `values` (N, C): the value part of attention.qkv, or what stands
  // in for it. `together`: sequences at a time.
  void Run(const ObservedAttention& attention, const TensorView& values, int64_t together,
           const AttentionSteps& steps);

 private:
  std::vector<float> rows_;  // scores, then probabilities
};

}  // namespace sluice
