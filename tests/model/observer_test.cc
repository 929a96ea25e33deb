// What observers are shown, and that what they change is what the pass goes on with.
#include "model/observer.h"

#include <map>
#include <utility>

#include "small_model.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::BatchShape;
using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

using Key = std::pair<int, std::string>;

std::vector<double> Values(const TensorView& view) {
  std::vector<double> values;
  for (int64_t row = 0; row < view.rows(); ++row) {
    const double* from = view.as<double>() + row * view.row_stride();
    values.insert(values.end(), from, from + view.dim(-1));
  }
  return values;
}

class Recorder : public Observer {
 public:
  bool Wants(absl::string_view) const override { return true; }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    const Key key{layer, std::string(tensor)};
    order.push_back(key);
    EXPECT_TRUE(values.emplace(key, Values(view)).second) << layer << " " << tensor << " twice";
  }
  const std::vector<double>& At(int layer, absl::string_view tensor) const {
    return values.at({layer, std::string(tensor)});
  }

  std::vector<Key> order;
  std::map<Key, std::vector<double>> values;
};

double Loss(Engine& engine, const Batch& batch, Observer* observer) {
  ModelLosses losses;
  EXPECT_TRUE(engine.Evaluate(batch, losses, observer).ok());
  return losses.language_model.loss;
}

struct Model {
  RunConfig config;
  BatchShape batch;
};
std::vector<Model> Models() {
  Model registers = {SmallDecoderConfig("opt", "gated"), {.lengths = true, .causal = true}};
  registers.config.model.attention.register_tokens = 2;
  return {{SmallBertConfig("gated"), {.lengths = true, .segments = true}},
          {SmallBertConfig(), {.documents = true}},
          registers,
          {SmallDecoderConfig("bigram_backcopy"), {.causal = true}}};
}

TEST(ObserverTest, EveryTensorOnceInTheOrderOfForward) {
  for (const Model& model : Models()) {
    auto engine = MakeEngine(model.config, DType::kFloat64, 3, 7);
    Recorder recorder;
    Loss(*engine, RandomBatch(model.batch, 5), &recorder);
    std::vector<Key> expected = {{-1, "embedding.sum"}, {-1, "embedding.norm"}};
    for (int layer = 0; layer < 2; ++layer) {
      expected.emplace_back(layer, "attention.qkv");
      if (model.config.model.attention.variant == "gated") expected.emplace_back(layer, "gate");
      for (const char* name : {"attention.context", "attention.output", "attention.residual_sum",
                               "attention.norm", "feed_forward.activated", "feed_forward.output",
                               "feed_forward.residual_sum", "feed_forward.norm"}) {
        expected.emplace_back(layer, name);
      }
    }
    EXPECT_EQ(recorder.order, expected) << model.config.model.architecture;
    const size_t rows = 3 * (7 + model.config.model.attention.register_tokens);
    for (const auto& [key, values] : recorder.values) {
      const size_t width = key.second == "attention.qkv"            ? 72
                           : key.second == "gate"                   ? 3
                           : key.second == "feed_forward.activated" ? 40
                                                                    : 24;
      EXPECT_EQ(values.size(), rows * width) << key.first << " " << key.second;
    }
  }
}

// The sum of embeddings taken apart, for an observer that may change its parts: rows of the table,
// with the segments', with the positions'.
TEST(ObserverTest, EmbeddingsAreTakenApartForWhoChangesThem) {
  struct Change : Recorder {
    explicit Change(double by_how_much) : by(by_how_much) {}
    bool changes_values() const override { return true; }
    void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
      Recorder::Observe(layer, tensor, view);
      for (int64_t i = 0; tensor == observed::kTokenEmbedding && i < view.elements(); ++i) {
        view.as<double>()[i] += by;
      }
    }
    double by;
  };
  for (const Model& model : Models()) {
    const bool has_segments = model.config.model.architecture == "bert";
    auto engine = MakeEngine(model.config, DType::kFloat64, 3, 7);
    const Batch batch = RandomBatch(model.batch, 5);
    Recorder plain;
    const double loss = Loss(*engine, batch, &plain);
    Change nothing(0), one(1);
    // token + segment + position instead of token + position + segment.
    EXPECT_NEAR(Loss(*engine, batch, &nothing), loss, 1e-12 * loss);
    Loss(*engine, batch, &one);
    std::vector<Key> begin = {{-1, "embedding.token"}};
    if (has_segments) begin.emplace_back(-1, "embedding.token_and_segment");
    begin.emplace_back(-1, "embedding.sum");
    EXPECT_EQ(std::vector<Key>(one.order.begin(), one.order.begin() + std::ssize(begin)), begin);
    const int64_t registers = model.config.model.attention.register_tokens;
    const std::vector<double>& sum = plain.At(-1, observed::kEmbeddingSum);
    for (size_t i = 0; i < sum.size(); ++i) {
      const bool is_register = static_cast<int64_t>(i) / 24 % (registers + 7) < registers;
      EXPECT_NEAR(one.At(-1, observed::kEmbeddingSum)[i], sum[i] + (is_register ? 0 : 1),
                  1e-14 * 8);
    }
  }
}

TEST(ObserverTest, SumsAreTheStreamWithTheBranch) {
  for (const Model& model : Models()) {
    const bool post_norm = model.config.model.architecture == "bert";
    auto engine = MakeEngine(model.config, DType::kFloat64, 3, 7);
    Recorder seen;
    Loss(*engine, RandomBatch(model.batch, 5), &seen);
    std::vector<double> stream =
        seen.At(-1, post_norm ? observed::kEmbeddingNorm : observed::kEmbeddingSum);
    auto expect_sum = [&](int layer, absl::string_view branch, absl::string_view sum,
                          absl::string_view norm) {
      for (size_t i = 0; i < stream.size(); ++i) stream[i] += seen.At(layer, branch)[i];
      testing::ExpectClose(std::string(sum), seen.At(layer, sum), stream,
                           {.relative = testing::UnitRoundoff<double>(),
                            .zeros_expected = true,
                            .derivation = "one rounded addition"});
      stream = seen.At(layer, post_norm ? norm : sum);
    };
    for (int layer = 0; layer < 2; ++layer) {
      expect_sum(layer, observed::kAttentionOutput, observed::kAttentionSum,
                 observed::kAttentionNorm);
      expect_sum(layer, observed::kFeedForwardOutput, observed::kFeedForwardSum,
                 observed::kFeedForwardNorm);
    }
  }
}

TEST(ObserverTest, WhatIsNotWantedIsNotShownAndWatchingChangesNothing) {
  auto engine = MakeEngine(SmallBertConfig("gated"), DType::kFloat32, 3, 7);
  struct OnlyGates : Observer {
    bool Wants(absl::string_view tensor) const override { return tensor == observed::kGate; }
    void Observe(int, absl::string_view tensor, const TensorView&) override {
      EXPECT_EQ(tensor, observed::kGate);
      ++seen;
    }
    int seen = 0;
  } gates;
  const Batch batch = RandomBatch({}, 5);
  const double loss = Loss(*engine, batch, nullptr);
  EXPECT_EQ(Loss(*engine, batch, &gates), loss);
  EXPECT_EQ(gates.seen, 2);
}

// Works in place with tensors whose names begin with `prefix`, and leaves the others to Observe.
struct InPlace : Observer {
  explicit InPlace(std::string works_on) : prefix(std::move(works_on)) {}
  bool Wants(absl::string_view tensor) const override { return tensor != observed::kGate; }
  absl::StatusOr<bool> ObserveInPlace(ExecutionContext& /*context*/, int layer,
                                      absl::string_view tensor, const TensorView& view) override {
    if (tensor.substr(0, prefix.size()) != absl::string_view(prefix)) return false;
    in_place.emplace(Key{layer, std::string(tensor)}, Values(view));
    return true;
  }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
    observed.emplace(Key{layer, std::string(tensor)}, Values(view));
  }
  std::string prefix;
  std::map<Key, std::vector<double>> in_place, observed;
};

TEST(ObserverTest, InAChainEachWorksInItsOwnWay) {
  auto engine = MakeEngine(SmallBertConfig("gated"), DType::kFloat64, 3, 7);
  const Batch batch = RandomBatch({}, 5);
  Recorder plain;
  Loss(*engine, batch, &plain);
  for (const auto& [a, b] :
       {std::pair{"attention", "feed_forward"}, {"", "attention"}, {"none", ""}, {"", ""}}) {
    InPlace first(a), second(b);
    ObserverChain chain(first, second);
    Loss(*engine, batch, &chain);
    for (const InPlace* one : {&first, &second}) {
      EXPECT_EQ(one->in_place.size() + one->observed.size(), plain.values.size() - 2);
      for (const auto& [key, values] : one->in_place) {
        EXPECT_EQ(key.second.substr(0, one->prefix.size()), one->prefix);
        EXPECT_EQ(values, plain.At(key.first, key.second)) << key.second;
      }
      for (const auto& [key, values] : one->observed) {
        EXPECT_NE(key.second.substr(0, one->prefix.size()), one->prefix);
        EXPECT_EQ(values, plain.At(key.first, key.second)) << key.second;
      }
    }
  }
}

// Who comes second sees what the first one has made of a tensor, in place too.
TEST(ObserverTest, InAChainChangesComeFirst) {
  struct Change : InPlace {
    Change() : InPlace("none") {}
    bool changes_values() const override { return true; }
    void Observe(int /*layer*/, absl::string_view /*tensor*/, const TensorView& view) override {
      view.as<double>()[0] = 77;
    }
  };
  auto engine = MakeEngine(SmallBertConfig(), DType::kFloat64, 3, 7);
  Change first;
  InPlace second("");
  ObserverChain chain(first, second);
  Loss(*engine, RandomBatch({}, 5), &chain);
  EXPECT_TRUE(second.in_place.empty());
  ASSERT_FALSE(second.observed.empty());
  for (const auto& [key, values] : second.observed) EXPECT_EQ(values[0], 77) << key.second;
}

// The sum of embeddings and the last of a layer; embeddings are normalized by one kernel with their
// sum, by another when the sum is changed, and again otherwise when their parts are shown.
TEST(ObserverTest, AChangedSumIsWhatItsNormReads) {
  // Rows of equal numbers have no variance: their LayerNorm is its bias, 0 at the start; what
  // rounding leaves, 2^-53 · 3.25, is divided by sqrt(eps).
  struct Flatten : Recorder {
    explicit Flatten(bool wants_parts) : parts(wants_parts) {}
    bool changes_values() const override { return true; }
    bool Wants(absl::string_view tensor) const override {
      return parts || tensor != observed::kTokenEmbedding;
    }
    void Observe(int layer, absl::string_view tensor, const TensorView& view) override {
      if (tensor == observed::kEmbeddingSum ||
          (tensor == observed::kFeedForwardSum && layer == 1)) {
        std::fill_n(view.as<double>(), view.elements(), 3.25);
      }
      Recorder::Observe(layer, tensor, view);
    }
    bool parts;
  };
  for (const Model& model : Models()) {
    auto engine = MakeEngine(model.config, DType::kFloat64, 3, 7);
    Recorder plain;
    EXPECT_TRUE(std::isfinite(Loss(*engine, RandomBatch(model.batch, 5), &plain)));
    for (const bool parts : {false, true}) {
      Flatten flatten(parts);
      Loss(*engine, RandomBatch(model.batch, 5), &flatten);
      for (const Key& norm :
           {Key(-1, observed::kEmbeddingNorm), Key(1, observed::kFeedForwardNorm)}) {
        for (double value : flatten.values.at(norm)) EXPECT_LT(std::abs(value), 1e-9);
        EXPECT_NE(plain.values.at(norm), flatten.values.at(norm));
      }
    }
  }
}

// Attention that only looks, or writes 0.5 everywhere.
class Attention : public Observer {
 public:
  explicit Attention(AttentionLook look) : look_(look) {}
  bool Wants(absl::string_view tensor) const override { return tensor == observed::kContext; }
  void Observe(int layer, absl::string_view, const TensorView& view) override {
    EXPECT_EQ(view.as<double>()[0], look_ == AttentionLook::kReplace ? 0.5 : first_[layer]);
  }
  AttentionLook attention_look() const override { return look_; }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override {
    ++calls;
    EXPECT_EQ(attention.B * attention.T, attention.qkv.rows());
    EXPECT_EQ(3 * attention.H * attention.D, attention.qkv.dim(-1));
    first_[layer] = attention.context.as<double>()[0];
    if (look_ == AttentionLook::kReplace) {
      std::fill_n(attention.context.as<double>(), attention.context.elements(), 0.5);
    }
    return absl::OkStatus();
  }
  int calls = 0;

 private:
  AttentionLook look_;
  std::map<int, double> first_;
};

TEST(ObserverTest, AttentionIsWatchedOrReplaced) {
  for (const Model& model : Models()) {
    auto engine = MakeEngine(model.config, DType::kFloat64, 3, 7);
    const Batch batch = RandomBatch(model.batch, 5);
    const double loss = Loss(*engine, batch, nullptr);
    Attention watch(Observer::AttentionLook::kObserve);
    EXPECT_EQ(Loss(*engine, batch, &watch), loss);
    EXPECT_EQ(watch.calls, 2);
    Attention replace(Observer::AttentionLook::kReplace);
    EXPECT_NE(Loss(*engine, batch, &replace), loss);
    EXPECT_EQ(replace.calls, 2);
  }
}

TEST(ObserverTest, AttentionIsShownOfAsManySequencesAsWanted) {
  struct Look : Recorder {
    explicit Look(int64_t sequences) : wanted(sequences) {}
    bool Wants(absl::string_view) const override { return false; }
    AttentionLook attention_look() const override { return AttentionLook::kObserve; }
    int64_t attention_sequences(int64_t B) const override {
      EXPECT_EQ(B, 3);
      return wanted;
    }
    absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override {
      EXPECT_EQ(attention.B, wanted);
      for (const TensorView* view : {&attention.qkv, &attention.gate, &attention.context}) {
        EXPECT_EQ(view->rows(), wanted * 7);
      }
      Observe(layer, observed::kQueryKeyValue, attention.qkv);
      lengths.assign(attention.mask.lengths, attention.mask.lengths + wanted);
      return absl::OkStatus();
    }
    int64_t wanted;
    std::vector<int32_t> lengths;
  };
  auto engine = MakeEngine(SmallBertConfig("gated"), DType::kFloat64, 3, 7);
  const Batch batch = RandomBatch({.lengths = true}, 5);
  Look all(3), two(2);
  Loss(*engine, batch, &all);
  Loss(*engine, batch, &two);
  EXPECT_EQ(two.lengths, std::vector<int32_t>(batch.lengths.begin(), batch.lengths.begin() + 2));
  for (const int layer : {0, 1}) {
    std::vector<double> begin = all.At(layer, observed::kQueryKeyValue);
    begin.resize(begin.size() * 2 / 3);
    EXPECT_EQ(two.At(layer, observed::kQueryKeyValue), begin);
  }
}

}  // namespace
}  // namespace sluice
