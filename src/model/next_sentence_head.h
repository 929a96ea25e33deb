// BERT's next-sentence head (Devlin et al. 2018, section 3.1), off by default:
//
//   pooled = tanh(x[first token of each row] · W_pᵀ + b_p)        (B, C): "bert.pooler"
//   logits = pooled · W_sᵀ + b_s                                  (B, 2): "cls.seq_relationship";
//   0: follows, 1: random loss = Σ cross-entropy(logits, labels), summed over rows
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "model/language_model_head.h"
#include "model/model_build.h"
#include "ops/linear.h"

namespace sluice {

class NextSentenceHead {
 public:
  NextSentenceHead(const ModelBuild& build, int64_t hidden_size, const InitialValues& weight);

  void Bind(const ParameterStore& parameters);
  void WeightsChanged();

  // hidden (N, C); labels (B) int32. Adds to *sums, memory of the device. When dhidden is not null,
  // also runs backward with the loss multiplied by `weight`: adds to the parameters' gradients and
  // ADDS to the first row of each sequence of dhidden (N, C).
  absl::Status Forward(ExecutionContext& context, const ForwardPass& pass, const TensorView& hidden,
                       const TensorView& labels, double weight, const TensorView& dhidden,
                       LossSums* sums);

  int64_t gradient_begin() const { return gradient_begin_; }
  int64_t gradient_end() const { return gradient_end_; }

 private:
  int64_t hidden_size_, gradient_begin_, gradient_end_;
  int classifier_weight_, classifier_bias_, pooler_weight_, pooler_bias_;
  ops::Linear pooler_, classifier_;
  const TensorView* rows_;                                   // (B) int32
  std::vector<int32_t> host_rows_;                           // (B): what is copied there
  const TensorView *first_, *pre_activation_, *pooled_;      // (B, C)
  const TensorView* logits_;                                 // (B, 2), accumulator dtype
  const TensorView* dlogits_ = nullptr;                      // (B, 2)
  const TensorView *dpooled_ = nullptr, *dfirst_ = nullptr;  // (B, C)
};

}  // namespace sluice
