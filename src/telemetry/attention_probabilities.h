// Scores and probabilities of one head of one sequence, query by query, as kernels/api/attention.h
// defines them, for causal attention without padding or documents: no T×T matrix exists.
//
//   AttentionProbabilities head;
//   head.Load(attention, b, h);
//   for (int64_t i = 0; i < T; ++i) {
//     const auto row = head.Row(i);      row.scores[0], row.probabilities[i] …
//   }
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/observer.h"

namespace sluice {

// The inner product with 16 running sums of T, added up in double at the end. n is a multiple of
// 16.
template <typename T>
double InnerProduct(const T* x, const T* y, int64_t n) {
  T lanes[16] = {};
  for (int64_t i = 0; i < n; i += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  }
  double sum = 0;
  for (T lane : lanes) sum += lane;
  return sum;
}

// Rows of `view` (fp32, bf16 or fp64), `columns` from `first_column` on, as T, each padded with
// zeros to a multiple of 16.
template <typename T>
struct PaddedRows {
  void Load(const TensorView& view, int64_t first_row, int64_t rows, int64_t first_column,
            int64_t columns);
  const T* Row(int64_t row) const { return values.data() + row * stride; }

  int64_t stride = 0;
  std::vector<T> values;
};

class AttentionProbabilities {
 public:
  // Of the tokens, registers left out: what query token i sees are the tokens 0 … i.
  struct QueryRow {
    std::span<const double> scores;         // ⟨q_i, k_j⟩ / √D
    std::span<const double> probabilities;  // p'[i, j], before any gate
    double entropy;  // -Σ p' ln p' over all keys: tokens, registers, the sink token
  };

  // Head h of sequence b. CHECKs that the mask is causal and nothing else.
  void Load(const ObservedAttention& attention, int64_t b, int64_t h);
  // Lives until the next call.
  QueryRow Row(int64_t i);

 private:
  void Score(int64_t query);

  bool wide_ = false;        // fp64 values (the reference), else fp32
  PaddedRows<float> q_, k_;  // (R + T, D), then the sink token's key
  PaddedRows<double> wq_, wk_;
  int64_t rows_ = 0, registers_ = 0;
  bool sink_token_ = false;
  double scale_ = 1, sink_logit_ = 0;
  ClippedSoftmax clip_;
  std::vector<double> scores_, probabilities_;  // registers and tokens, then the sink token
};

}  // namespace sluice
