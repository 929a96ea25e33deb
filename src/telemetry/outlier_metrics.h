// How far the activations of a pass stand out: inf norm and kurtosis of every tensor of the
// residual stream, gathered by one Observer, and the numbers that papers derive from them.
// Definitions, row units and sources: docs/metrics.md.
//
//   OutlierMetrics outliers({.layers = L, .hidden_size = C, .row_length = R + T, …});
//   … evaluate with &outliers as observer …
//   RETURN_IF_ERROR(outliers.Merge(communicator));
//   for (const NamedOutlierMetric& metric : NamedOutlierMetrics(outliers.tensors(), pre_norm)) …
//
// A row x of length n is a sequence (all its tokens, n = (R + T)·C) or a token (n = C):
//   inf norm   max_c |x_c|
//   kurtosis   m4 / (s^4 + 1e-6), m4 = Σ (x_c - mean)^4 / n (biased), s^2 = Σ (x_c - mean)^2 /
//              (n - 1) (unbiased): not excess, and not free of scale
// A tensor's number is the mean over rows, all of the same weight: maxima below are maxima over
// layers of means over rows of maxima within a row. Registers and padding are rows like any other.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "model/observer.h"
#include "ops/row_moments.h"

namespace sluice {

// Of several rows of one length put together.
RowMomentSums MomentsOfRows(const RowMomentSums* rows, int64_t count, int64_t length);

// Infinite or not a number where the row is.
double Kurtosis(const RowMomentSums& moments, int64_t length);

// What the largest of these has in their sum; 0 where all are 0.
double TopChannelShare(std::span<const double> squares);

// Means over the rows that were looked at.
struct RowOutliers {
  double inf_norm = 0;
  double kurtosis = 0;  // over the first kurtosis_batches batches
};

struct TensorOutliers {
  int layer = -1;
  std::string tensor;  // observed::k…
  RowOutliers sequence, token;
  // The largest share that one channel has in Σ x², all rows together: 1/C where all are alike.
  double top_channel_share = 0;
};

struct OutlierOptions {
  int64_t layers = 0, hidden_size = 0;
  int64_t row_length = 0;        // R + T
  int64_t kurtosis_batches = 0;  // only the first of all ranks' batches; 0: all
  // The k-th pass that this rank observes is batch rank + k · world_size.
  int64_t rank = 0, world_size = 1;
};

// Batches of `batch_size` sequences that hold as many as the published kurtoses look at: 8,224 of
// BERT (257 batches of 32), 404 of OPT (101 batches of 4).
int64_t DefaultKurtosisBatches(bool pre_norm, int64_t batch_size);

class OutlierMetrics : public Observer {
 public:
  explicit OutlierMetrics(const OutlierOptions& options);

  bool Wants(absl::string_view tensor) const override;
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;

  // Adds up all ranks, on every rank; collective. Once, behind the last pass.
  absl::Status Merge(Communicator& communicator);

  // The sum and the norm of the embeddings, then six tensors a layer. The feed-forward's norm of
  // the last layer is a pre-LN model's final norm. Empty before the first pass.
  std::vector<TensorOutliers> tensors() const;

 private:
  enum Sum {
    kSequences,
    kTokens,
    kSequenceNorm,
    kTokenNorm,
    kKurtosisSequences,
    kKurtosisTokens,
    kSequenceKurtosis,
    kTokenKurtosis,
    kSums
  };

  double* SumsOf(int64_t slot) { return sums_.data() + slot * (kSums + options_.hidden_size); }
  const double* SumsOf(int64_t slot) const {
    return sums_.data() + slot * (kSums + options_.hidden_size);
  }
  void Add(const TensorView& view, double* sums);
  void AddRows(int64_t rows, double* sums) const;

  OutlierOptions options_;
  int64_t passes_ = 0;        // begun, on this rank
  std::vector<double> sums_;  // slot by slot: kSums numbers, then Σ x² of each channel
  // Of the tensor at hand.
  std::vector<RowMomentSums> tokens_;
  std::vector<double> squares_;
};

struct NamedOutlierMetric {
  std::string name;  // says tensor and row unit
  double value = 0;
  std::string known_as;  // in the papers' logs and tables
};

// The lines of the papers' evaluations, from tensors(): of BERT (post-LN) or OPT (pre_norm).
std::vector<NamedOutlierMetric> NamedOutlierMetrics(const std::vector<TensorOutliers>& tensors,
                                                    bool pre_norm);

// Where a tensor of a pre-LN model is found in Hugging Face's OPTForCausalLM, or of a post-LN one
// in BertForMaskedLM, and which row its published number has. Empty name: not among their tensors.
struct PublishedTensor {
  std::string huggingface_name;
  bool per_token = false;  // else per sequence
};
PublishedTensor FindPublishedTensor(int layer, const std::string& tensor, int64_t layers,
                                    bool pre_norm);

}  // namespace sluice
