// Scores and probabilities of one head of one sequence, query by query, as kernels/api/attention.h
// defines them, for every variant and mask: no T×T matrix exists.
//
//   AttentionProbabilities head;
//   head.Load(attention, b, h);
//   for (int64_t i = 0; i < head.tokens(); ++i) {
//     const auto row = head.Row(i);
//     for (size_t n = 0; n < row.probabilities.size(); ++n) {
//       row.probabilities[n] is what query i gives to token row.first + n …
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

// Rows of `view` (fp32, bf16, fp16 or fp64), `columns` from `first_column` on, as T, each padded
// with zeros to a multiple of 16.
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
  // Of a token as query. What it sees of the tokens is [first, first + n), however it is masked:
  // empty where it is padding itself.
  struct QueryRow {
    int64_t first = 0;
    std::span<const double> scores;         // ⟨q_i, k_j⟩ / √D
    std::span<const double> probabilities;  // p'[i, j], before any gate
    double entropy = 0;        // -Σ p' ln p' over all keys: tokens, registers, the sink token
    double on_registers = 0;   // Σ p' over registers
    double on_sink_token = 0;  // its p', where there is one
    double on_sink_logit = 0;  // what the sink's logit takes of the softmax, never clipped
  };

  // Head h of sequence b.
  void Load(const ObservedAttention& attention, int64_t b, int64_t h);
  int64_t tokens() const { return rows_ - registers_; }  // padding included
  // Lives until the next call.
  QueryRow Row(int64_t i);

 private:
  // Columns [begin, end) of rows, of what a query sees.
  struct Range {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
  };
  Range VisibleTokens(int64_t i) const;
  // Queries of T, and keys with a column for each row of the sequence.
  template <typename T>
  struct Operands {
    PaddedRows<T> queries, sink_key;
    std::vector<T> keys;  // (D, key_stride)
    int64_t key_stride = 0;
    void Load(const ObservedAttention& attention, int64_t b, int64_t h);
    // ⟨q, k_j⟩ for the keys of the range.
    void Score(int64_t query, Range range, int64_t head_size, double* scores) const;
  };
  void Score(int64_t query, Range tokens);
  double Softmax(size_t keys, double& on_sink_logit);
  double Rectify(size_t keys);

  bool wide_ = false;  // fp64 values (the reference), else fp32
  Operands<float> narrow_values_;
  Operands<double> wide_values_;
  int64_t rows_ = 0, registers_ = 0, length_ = 0, head_size_ = 0;
  bool causal_ = false, sink_token_ = false;
  const int32_t* documents_ = nullptr;  // (T) of the sequence, or null
  double scale_ = 1, sink_logit_ = 0;
  bool rectified_ = false;  // no softmax
  ClippedSoftmax clip_;
  // Registers, the tokens that are seen, then the sink token.
  std::vector<double> scores_, probabilities_;
};

}  // namespace sluice
