#include "telemetry/activation_telemetry.h"

#include <cmath>
#include <map>
#include <memory>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "core/bf16.h"
#include "core/check.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::RandomValues;

constexpr int64_t kGlobal = 8, kT = 5, kC = 37;

RunConfig Config(int64_t sequences) {
  RunConfig config;
  config.model.hidden_size = kC;
  config.model.num_hidden_layers = 2;
  config.data.sequence_length = kT;
  config.training.global_batch_size = kGlobal;
  config.telemetry.activation_statistics_every = 10;
  config.telemetry.statistics_sequences = sequences;
  return config;
}

// Of sequences [first, first + count) of an update's batch, the same whoever asks: rows with means
// of their own and one channel that stands out.
template <typename T>
std::vector<T> Activations(uint64_t tensor, int64_t first, int64_t count) {
  std::vector<double> values;
  for (int64_t row = first * kT; row < (first + count) * kT; ++row) {
    std::vector<double> one = RandomValues(kC, 1000 * tensor + row, -2, 3);
    for (double& value : one) value += static_cast<double>(row % 4);
    one[11] *= 9;
    values.insert(values.end(), one.begin(), one.end());
  }
  return testing::Cast<T>(values);
}

// A rank with its memory, to which tensors are shown as a pass does.
struct Rank {
  Rank(const RunConfig& config, const ActivationTelemetry::Share& share)
      : telemetry(config, share), micro_batch(share.micro_batch) {
    first = share.rank * kGlobal / share.world_size;
    telemetry.Plan(arena);
    CHECK_OK(arena.Allocate(ArenaFill::kPoison, *device));
  }

  // All micro-batches of an update; tensor number n is made from seed n.
  template <typename T>
  void Update(const std::vector<std::pair<int, absl::string_view>>& tensors, int64_t parts) {
    for (int64_t part = 0; part < parts; ++part) {
      telemetry.BeginBatch(part);
      for (size_t n = 0; n < tensors.size(); ++n) {
        auto values = Activations<T>(n, first + part * micro_batch, micro_batch);
        CHECK_OK(Show(context, &telemetry, tensors[n].first, tensors[n].second,
                      TensorView::Of(values.data(), {micro_batch * kT, kC})));
      }
    }
  }

  std::unique_ptr<Device> device = Device::OpenCpu();
  ExecutionContext context{*device};
  Arena arena;
  ActivationTelemetry telemetry;
  int64_t micro_batch, first;
};

std::vector<std::pair<int, absl::string_view>> AllTensors() {
  std::vector<std::pair<int, absl::string_view>> tensors = {{-1, observed::kEmbeddingSum},
                                                            {-1, observed::kEmbeddingNorm}};
  for (int layer = 0; layer < 2; ++layer) {
    for (const absl::string_view name :
         {observed::kAttentionOutput, observed::kAttentionSum, observed::kAttentionNorm,
          observed::kFeedForwardOutput, observed::kFeedForwardSum, observed::kFeedForwardNorm}) {
      tensors.emplace_back(layer, name);
    }
  }
  return tensors;
}

std::vector<TensorActivations> CollectAlone(Rank& rank) {
  SingleCommunicator alone;
  auto tensors = rank.telemetry.Collect(*rank.device, alone);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  return *std::move(tensors);
}

// The definition word for word.
template <typename T>
double NaiveKurtosis(const T* row, int64_t n) {
  double mean = 0, second = 0, fourth = 0;
  for (int64_t c = 0; c < n; ++c) mean += static_cast<double>(row[c]);
  mean /= static_cast<double>(n);
  for (int64_t c = 0; c < n; ++c) {
    second += std::pow(static_cast<double>(row[c]) - mean, 2);
    fourth += std::pow(static_cast<double>(row[c]) - mean, 4);
  }
  const double s = std::sqrt(second / static_cast<double>(n - 1));
  return fourth / static_cast<double>(n) / (std::pow(s, 4) + 1e-6);
}

template <typename T>
double NaiveMeanKurtosis(const std::vector<T>& values, int64_t row) {
  double sum = 0;
  for (int64_t at = 0; at < std::ssize(values); at += row) sum += NaiveKurtosis(&values[at], row);
  return sum / static_cast<double>(std::ssize(values) / row);
}

template <typename T>
void ExpectDefinition() {
  constexpr int64_t kSequences = 3;
  Rank rank(Config(kSequences), {.micro_batch = 4});
  rank.Update<T>(AllTensors(), 2);
  const std::vector<TensorActivations> tensors = CollectAlone(rank);
  ASSERT_EQ(tensors.size(), AllTensors().size());
  for (size_t n = 0; n < tensors.size(); ++n) {
    const TensorActivations& got = tensors[n];
    EXPECT_EQ(got.layer, AllTensors()[n].first);
    EXPECT_EQ(got.tensor, AllTensors()[n].second);
    const std::vector<T> all = Activations<T>(n, 0, kSequences);
    double largest = 0, total = 0;
    std::vector<double> squares(kC);
    for (size_t i = 0; i < all.size(); ++i) {
      const double x = static_cast<double>(all[i]);
      largest = std::max(largest, std::abs(x));
      squares[i % kC] += x * x;
      total += x * x;
    }
    const double sequence = NaiveMeanKurtosis(all, kT * kC), token = NaiveMeanKurtosis(all, kC);
    EXPECT_EQ(got.max_abs, largest);
    // Double sums of a few hundred terms.
    EXPECT_NEAR(got.kurtosis_per_sequence, sequence, 1e-12 * sequence);
    EXPECT_NEAR(got.kurtosis_per_token, token, 1e-12 * token);
    EXPECT_GT(std::abs(sequence / token - 1), 0.02);  // the row unit matters
    EXPECT_NEAR(got.top_channel_share, squares[11] / total, 1e-12);
  }
}

TEST(ActivationTelemetryTest, NumbersAreTheDefinition) {
  ExpectDefinition<float>();
  ExpectDefinition<bf16>();
  ExpectDefinition<double>();
}

// Whoever looks at which sequences, alone or in parts: the same bits.
TEST(ActivationTelemetryTest, RanksAndMicroBatchesGiveTheSameBits) {
  for (const int64_t sequences : {1, 3, 6, 1000}) {
    const RunConfig config = Config(sequences);
    Rank alone(config, {.micro_batch = kGlobal});
    alone.Update<float>(AllTensors(), 1);
    const MetricFields expected = ActivationFields(10, CollectAlone(alone));
    for (const auto& [ranks, parts] : {std::pair{1, 4}, {2, 1}, {2, 2}, {4, 2}}) {
      SCOPED_TRACE(::testing::Message()
                   << sequences << " sequences, " << ranks << " ranks x " << parts);
      RunRanks(ranks, [&](Communicator& communicator) {
        Rank own(config, {.rank = communicator.rank(),
                          .world_size = ranks,
                          .micro_batch = kGlobal / ranks / parts});
        own.Update<float>(AllTensors(), parts);
        const auto tensors = own.telemetry.Collect(*own.device, communicator);
        ASSERT_TRUE(tensors.ok());
        EXPECT_EQ(ActivationFields(10, *tensors), expected);
      });
    }
  }
}

TEST(ActivationTelemetryTest, WhatIsNotLookedAtIsNotWanted) {
  ActivationTelemetry telemetry(Config(3), {.rank = 0, .world_size = 2, .micro_batch = 2});
  EXPECT_FALSE(telemetry.Wants(observed::kFeedForwardSum));  // no batch yet
  EXPECT_TRUE(telemetry.BeginBatch(1));                      // its sequence 2
  EXPECT_TRUE(telemetry.Wants(observed::kFeedForwardSum));
  EXPECT_FALSE(telemetry.Wants(observed::kQueryKeyValue));
  EXPECT_FALSE(telemetry.Wants(observed::kActivated));
  ActivationTelemetry other(Config(3), {.rank = 1, .world_size = 2, .micro_batch = 2});
  EXPECT_FALSE(other.BeginBatch(0));  // sequences 4 and 5
  EXPECT_FALSE(other.Wants(observed::kFeedForwardSum));
  EXPECT_TRUE(other.Due(20));
  EXPECT_FALSE(other.Due(21));
  RunConfig never = Config(3);
  never.telemetry.activation_statistics_every = 0;
  EXPECT_FALSE(ActivationTelemetry(never, {}).Due(20));
}

TEST(ActivationTelemetryTest, RegistersAreRowsOfTheirSequence) {
  RunConfig config = Config(1);
  config.model.attention.register_tokens = 2;
  ActivationTelemetry telemetry(config, {.micro_batch = kGlobal});
  const auto device = Device::OpenCpu();
  ExecutionContext context(*device);
  Arena arena;
  telemetry.Plan(arena);
  ASSERT_TRUE(arena.Allocate(ArenaFill::kPoison, *device).ok());
  ASSERT_TRUE(telemetry.BeginBatch(0));
  std::vector<float> values(kGlobal * (2 + kT) * kC, 1.0f);
  values[kC] = 50;                  // the second register of the first sequence
  values[(2 + kT) * kC + 3] = 100;  // the first register of the second one
  for (const auto& [layer, name] : AllTensors()) {
    ASSERT_TRUE(Show(context, &telemetry, layer, name,
                     TensorView::Of(values.data(), {kGlobal * (2 + kT), kC}))
                    .ok());
  }
  SingleCommunicator alone;
  const auto tensors = telemetry.Collect(*device, alone);
  ASSERT_TRUE(tensors.ok());
  EXPECT_EQ((*tensors)[5].max_abs, 50);
}

TEST(ActivationTelemetryTest, WhatIsNoNumberShows) {
  Rank rank(Config(2), {.micro_batch = kGlobal});
  rank.Update<float>(AllTensors(), 1);
  auto values = Activations<float>(3, 0, kGlobal);
  values[kT * kC + 7] = NAN;  // of the second sequence
  ASSERT_TRUE(Show(rank.context, &rank.telemetry, 0, observed::kAttentionSum,
                   TensorView::Of(values.data(), {kGlobal * kT, kC}))
                  .ok());
  const TensorActivations tensor = CollectAlone(rank)[3];
  EXPECT_EQ(tensor.tensor, observed::kAttentionSum);
  EXPECT_TRUE(std::isnan(tensor.max_abs));
  EXPECT_TRUE(std::isnan(tensor.kurtosis_per_sequence));
  EXPECT_TRUE(std::isnan(tensor.kurtosis_per_token));
}

TEST(ActivationTelemetryTest, FieldsNameLayerAndTensor) {
  const MetricFields fields = ActivationFields(
      40, {{.layer = -1, .tensor = "embedding.sum", .max_abs = 2, .top_channel_share = 0.25},
           {.layer = 3, .tensor = "feed_forward.output", .kurtosis_per_token = 7}});
  std::map<std::string, MetricValue> named(fields.begin(), fields.end());
  EXPECT_EQ(named.size(), 1 + 2 * 4);
  EXPECT_EQ(std::get<int64_t>(named.at("step")), 40);
  EXPECT_EQ(std::get<double>(named.at("embedding.sum.max_abs")), 2);
  EXPECT_EQ(std::get<double>(named.at("embedding.sum.top_channel_share")), 0.25);
  EXPECT_EQ(std::get<double>(named.at("layer_3.feed_forward.output.kurtosis_per_token")), 7);
  EXPECT_EQ(std::get<double>(named.at("layer_3.feed_forward.output.kurtosis_per_sequence")), 0);
}

}  // namespace
}  // namespace sluice
