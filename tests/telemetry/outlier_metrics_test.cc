#include "telemetry/outlier_metrics.h"

#include <cmath>
#include <map>

#include "comm/thread_communicator.h"
#include "core/bf16.h"
#include "core/check.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::RandomValues;

double KurtosisOf(const std::vector<float>& row) {
  const int64_t length = std::ssize(row);
  std::vector<float> copy = row;
  std::vector<double> squares(row.size());
  RowMomentSums moments;
  CHECK_OK(ops::RunOnHost({.x = TensorView::Of(copy.data(), {1, length}),
                           .moments = &moments,
                           .squares = squares.data(),
                           .group = 1}));
  return Kurtosis(moments, length);
}

std::vector<float> Alternating(float size) {
  std::vector<float> row(768);
  for (size_t i = 0; i < row.size(); ++i) row[i] = i % 2 == 0 ? size : -size;
  return row;
}

TEST(KurtosisTest, GoldenValues) {
  EXPECT_NEAR(KurtosisOf({0, 1, 2, 3, 4, 5, 6, 7}), 1.3489582959, 1e-10);
  std::vector<float> spike(768);
  spike[100] = 100;
  EXPECT_NEAR(KurtosisOf(spike), 764.0078029, 1e-7);
  spike[100] = 0.05f;
  // 0.05 in float is off by 1.5e-8 of itself, and s^4 is far below eps: 4 times that.
  EXPECT_NEAR(KurtosisOf(spike), 0.0080956, 5e-8);
  EXPECT_NEAR(KurtosisOf(Alternating(1)), 0.9973965, 5e-8);
  EXPECT_NEAR(KurtosisOf(Alternating(0.05f)), 0.8601342, 1e-7);
  EXPECT_NEAR(KurtosisOf(Alternating(0.01f)), 0.0099007, 5e-8);
}

// The definition word for word.
struct Naive {
  double inf_norm = 0, kurtosis = 0;
};
template <typename T>
Naive NaiveRow(const T* row, int64_t n) {
  Naive naive;
  double mean = 0, second = 0, fourth = 0;
  for (int64_t c = 0; c < n; ++c) mean += static_cast<double>(row[c]);
  mean /= static_cast<double>(n);
  for (int64_t c = 0; c < n; ++c) {
    const double x = static_cast<double>(row[c]);
    naive.inf_norm = std::max(naive.inf_norm, std::abs(x));
    second += std::pow(x - mean, 2);
    fourth += std::pow(x - mean, 4);
  }
  const double s = std::sqrt(second / static_cast<double>(n - 1));
  naive.kurtosis = fourth / static_cast<double>(n) / (std::pow(s, 4) + 1e-6);
  return naive;
}

template <typename T>
Naive NaiveMean(const std::vector<T>& values, int64_t row_length) {
  Naive mean;
  const int64_t rows = std::ssize(values) / row_length;
  for (int64_t row = 0; row < rows; ++row) {
    const Naive one = NaiveRow(values.data() + row * row_length, row_length);
    mean.inf_norm += one.inf_norm / static_cast<double>(rows);
    mean.kurtosis += one.kurtosis / static_cast<double>(rows);
  }
  return mean;
}

constexpr int64_t kB = 3, kT = 5, kC = 37;

// Rows with means of their own and one channel that stands out.
template <typename T>
std::vector<T> Activations(uint64_t seed, int64_t rows = kB * kT) {
  std::vector<double> values = RandomValues(rows * kC, seed, -2, 3);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < kC; ++c) values[row * kC + c] += static_cast<double>(row % 4);
    values[row * kC + 11] *= 9;
  }
  return testing::Cast<T>(values);
}

template <typename T>
void Show(OutlierMetrics& metrics, int layer, absl::string_view tensor, std::vector<T>& values) {
  metrics.Observe(layer, tensor, TensorView::Of(values.data(), {std::ssize(values) / kC, kC}));
}

template <typename T>
void ExpectDefinition() {
  OutlierMetrics metrics({.layers = 1, .hidden_size = kC, .row_length = kT});
  std::vector<T> all;
  for (uint64_t pass = 0; pass < 3; ++pass) {
    std::vector<T> sum = Activations<T>(9), values = Activations<T>(pass);
    Show(metrics, -1, observed::kEmbeddingSum, sum);
    Show(metrics, 0, observed::kFeedForwardOutput, values);
    all.insert(all.end(), values.begin(), values.end());
  }
  ASSERT_EQ(metrics.tensors().size(), 2);
  const TensorOutliers tensor = metrics.tensors()[1];
  EXPECT_EQ(tensor.layer, 0);
  EXPECT_EQ(tensor.tensor, observed::kFeedForwardOutput);
  const Naive sequence = NaiveMean(all, kT * kC), token = NaiveMean(all, kC);
  // Double sums of a few hundred terms.
  EXPECT_NEAR(tensor.sequence.inf_norm, sequence.inf_norm, 1e-12 * sequence.inf_norm);
  EXPECT_NEAR(tensor.sequence.kurtosis, sequence.kurtosis, 1e-12 * sequence.kurtosis);
  EXPECT_NEAR(tensor.token.inf_norm, token.inf_norm, 1e-12 * token.inf_norm);
  EXPECT_NEAR(tensor.token.kurtosis, token.kurtosis, 1e-12 * token.kurtosis);
  // The row unit matters.
  EXPECT_GT(sequence.inf_norm, 1.05 * token.inf_norm);
  EXPECT_GT(std::abs(sequence.kurtosis / token.kurtosis - 1), 0.02);
  std::vector<double> squares(kC);
  double total = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const double square = std::pow(static_cast<double>(all[i]), 2);
    squares[i % kC] += square;
    total += square;
  }
  EXPECT_NEAR(tensor.top_channel_share, squares[11] / total, 1e-12);
}

TEST(OutlierMetricsTest, BothRowUnitsAreTheDefinition) {
  ExpectDefinition<float>();
  ExpectDefinition<bf16>();
  ExpectDefinition<fp16>();
  ExpectDefinition<double>();
}

// What the published runs look at, in batches of theirs and of ours.
TEST(OutlierMetricsTest, KurtosisLooksAtThePublishedSequences) {
  EXPECT_EQ(DefaultKurtosisBatches(/*pre_norm=*/false, 32), 257);
  EXPECT_EQ(DefaultKurtosisBatches(/*pre_norm=*/true, 4), 101);
  EXPECT_EQ(DefaultKurtosisBatches(/*pre_norm=*/true, 32), 13);
  EXPECT_EQ(DefaultKurtosisBatches(/*pre_norm=*/false, 10000), 1);
}

TEST(OutlierMetricsTest, KurtosisLooksAtTheFirstBatchesOnly) {
  OutlierMetrics metrics({.layers = 1, .hidden_size = kC, .row_length = kT, .kurtosis_batches = 2});
  std::vector<std::vector<float>> passes;
  for (uint64_t pass = 0; pass < 4; ++pass) {
    passes.push_back(Activations<float>(pass));
    Show(metrics, -1, observed::kEmbeddingSum, passes.back());
  }
  const TensorOutliers tensor = metrics.tensors()[0];
  double kurtosis = 0, inf_norm = 0;
  for (int pass = 0; pass < 4; ++pass) {
    const Naive naive = NaiveMean(passes[pass], kT * kC);
    inf_norm += naive.inf_norm / 4;
    if (pass < 2) kurtosis += naive.kurtosis / 2;
  }
  EXPECT_NEAR(tensor.sequence.inf_norm, inf_norm, 1e-12 * inf_norm);
  EXPECT_NEAR(tensor.sequence.kurtosis, kurtosis, 1e-12 * kurtosis);
}

// Batches dealt to ranks in turn, the last rank with one less: the same as one rank's, kurtosis's
// first batches included.
TEST(OutlierMetricsTest, RanksAddUp) {
  constexpr int kRanks = 3, kBatches = 5;
  OutlierOptions options = {
      .layers = 1, .hidden_size = kC, .row_length = kT, .kurtosis_batches = 4};
  OutlierMetrics alone(options);
  for (uint64_t batch = 0; batch < kBatches; ++batch) {
    std::vector<float> values = Activations<float>(batch);
    Show(alone, -1, observed::kEmbeddingSum, values);
  }
  const TensorOutliers expected = alone.tensors()[0];
  RunRanks(kRanks, [&](Communicator& communicator) {
    OutlierOptions own = options;
    own.rank = communicator.rank();
    own.world_size = kRanks;
    OutlierMetrics metrics(own);
    for (uint64_t batch = communicator.rank(); batch < kBatches; batch += kRanks) {
      std::vector<float> values = Activations<float>(batch);
      Show(metrics, -1, observed::kEmbeddingSum, values);
    }
    ASSERT_TRUE(metrics.Merge(communicator).ok());
    const TensorOutliers got = metrics.tensors()[0];
    EXPECT_NEAR(got.sequence.inf_norm, expected.sequence.inf_norm, 1e-13);
    EXPECT_NEAR(got.token.kurtosis, expected.token.kurtosis, 1e-13 * expected.token.kurtosis);
    EXPECT_NEAR(got.sequence.kurtosis, expected.sequence.kurtosis,
                1e-13 * expected.sequence.kurtosis);
    EXPECT_NEAR(got.top_channel_share, expected.top_channel_share, 1e-13);
  });
}

TEST(OutlierMetricsTest, WhatIsNoNumberShows) {
  OutlierMetrics metrics({.layers = 1, .hidden_size = kC, .row_length = kT});
  std::vector<float> values = Activations<float>(1);
  values[40] = NAN;
  Show(metrics, -1, observed::kEmbeddingSum, values);
  EXPECT_TRUE(std::isnan(metrics.tensors()[0].sequence.inf_norm));
  EXPECT_TRUE(std::isnan(metrics.tensors()[0].token.kurtosis));
}

// Every tensor of a model of two layers with numbers that tell it and its row unit.
std::vector<TensorOutliers> NumberedTensors() {
  std::vector<TensorOutliers> tensors;
  double number = 1;
  const auto add = [&](int layer, absl::string_view name) {
    tensors.push_back({.layer = layer,
                       .tensor = std::string(name),
                       .sequence = {number, 100 + number},
                       .token = {number + 0.5, 1000 + number},
                       .top_channel_share = 0});
    number += 1;
  };
  add(-1, observed::kEmbeddingSum);
  add(-1, observed::kEmbeddingNorm);
  for (int layer = 0; layer < 2; ++layer) {
    for (const absl::string_view name :
         {observed::kAttentionOutput, observed::kAttentionSum, observed::kAttentionNorm,
          observed::kFeedForwardOutput, observed::kFeedForwardSum, observed::kFeedForwardNorm}) {
      add(layer, name);
    }
  }
  return tensors;
}

std::map<std::string, double> Named(bool pre_norm) {
  std::map<std::string, double> values;
  for (const NamedOutlierMetric& metric : NamedOutlierMetrics(NumberedTensors(), pre_norm)) {
    values[metric.name] = metric.value;
  }
  return values;
}

TEST(NamedOutlierMetricsTest, OfBert) {
  // Layer 0: 3 attention output, 4 sum, 5 norm, 6 FFN output, 7 sum, 8 norm; layer 1: 9 … 14.
  const std::map<std::string, double> expected = {
      {"max_inf_norm_feed_forward_output_per_sequence", 12},
      {"max_inf_norm_feed_forward_residual_sum_per_sequence", 13},
      {"max_inf_norm_feed_forward_norm_per_sequence", 14},
      {"average_kurtosis_feed_forward_output_and_norm_per_sequence", (106 + 108 + 112 + 114) / 4.0},
      {"max_kurtosis_feed_forward_output_and_norm_per_sequence", 114}};
  EXPECT_EQ(Named(false), expected);
}

TEST(NamedOutlierMetricsTest, OfOpt) {
  // Per token: 5, 6, 11, 12. Sequences: 2, 3, 7, 8, 9, 13, 14. Not among them: 1, 4, 10.
  const double average =
      (1005 + 1006 + 1011 + 1012 + 102 + 103 + 107 + 108 + 109 + 113 + 114) / 11.0;
  const std::map<std::string, double> expected = {
      {"max_inf_norm_all_tensors_mixed_rows", 14},
      {"max_inf_norm_feed_forward_output_per_token", 12.5},
      {"max_inf_norm_layer_output_per_sequence", 13},
      {"max_inf_norm_attention_residual_sum_per_token", 10.5},
      {"average_kurtosis_all_tensors_mixed_rows", average},
      {"max_kurtosis_all_tensors_mixed_rows", 1012},
      {"max_kurtosis_layer_output_per_sequence", 113}};
  EXPECT_EQ(Named(true), expected);
}

TEST(PublishedTensorTest, SixtyOneOfOptAndTwentyFourOfBert) {
  for (const bool pre_norm : {false, true}) {
    int found = 0, per_token = 0;
    for (int layer = -1; layer < 12; ++layer) {
      for (const absl::string_view name :
           {observed::kEmbeddingSum, observed::kEmbeddingNorm, observed::kAttentionOutput,
            observed::kAttentionSum, observed::kAttentionNorm, observed::kFeedForwardOutput,
            observed::kFeedForwardSum, observed::kFeedForwardNorm}) {
        if ((layer < 0) != (name.substr(0, 9) == "embedding")) continue;
        const PublishedTensor tensor = FindPublishedTensor(layer, std::string(name), 12, pre_norm);
        found += !tensor.huggingface_name.empty();
        per_token += tensor.per_token;
      }
    }
    EXPECT_EQ(found, pre_norm ? 61 : 24);
    EXPECT_EQ(per_token, pre_norm ? 24 : 0);
  }
  EXPECT_EQ(FindPublishedTensor(3, "feed_forward.norm", 12, true).huggingface_name,
            "model.decoder.layers.4.self_attn_layer_norm");
  EXPECT_EQ(FindPublishedTensor(11, "feed_forward.norm", 12, true).huggingface_name,
            "model.decoder.final_layer_norm");
}

}  // namespace
}  // namespace sluice
