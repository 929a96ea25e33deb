#include "telemetry/attention_maps.h"

#include <cmath>

#include "core/check.h"
#include "kernels/api/attention.h"
#include "model/small_model.h"
#include "support/compare.h"

namespace sluice {
namespace {

using testing::BatchShape;
using testing::MakeEngine;
using testing::RandomBatch;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

// p' by the kernels' reference: what attention gives without a gate when token j's value is 1 in
// channel j and 0 elsewhere, and registers' and the sink token's are 0.
class ReferenceMaps : public Observer {
 public:
  bool Wants(absl::string_view /*tensor*/) const override { return false; }
  void Observe(int, absl::string_view, const TensorView&) override {}
  AttentionLook attention_look() const override { return AttentionLook::kObserve; }
  absl::Status ObserveAttention(int /*layer*/, const ObservedAttention& attention) override {
    const auto& [B, T, H, D] = std::tuple(attention.B, attention.T, attention.H, attention.D);
    const int64_t registers = attention.mask.registers, tokens = T - registers;
    CHECK_LE(tokens, D);
    std::vector<double> v(B * T * H * D * 3), out(B * T * H * D), none(H * D);
    for (int64_t row = 0; row < B * T; ++row) {
      const int64_t j = row % T - registers;
      for (int64_t h = 0; h < H && j >= 0; ++h) v[row * 3 * H * D + h * D + j] = 1;
    }
    const double* qkv = attention.qkv.as<double>();
    const bool sink_token = !attention.sink_key.null();
    reference::AttentionForward({.q = qkv,
                                 .k = qkv + H * D,
                                 .v = v.data(),
                                 .gate = nullptr,
                                 .out = out.data(),
                                 .log_sum_exp = nullptr,
                                 .B = B,
                                 .T_ = T,
                                 .H = H,
                                 .D = D,
                                 .qkv_stride = 3 * H * D,
                                 .scale = 1 / std::sqrt(static_cast<double>(D)),
                                 .weights = attention.variant.weights,
                                 .clip = attention.variant.clip,
                                 .sink = attention.variant.sink,
                                 .sink_logit = attention.sink_logit.as<double>(),
                                 .sink_key = sink_token ? attention.sink_key.as<double>() : nullptr,
                                 .sink_value = sink_token ? none.data() : nullptr,
                                 .mask = attention.mask,
                                 .dropout = {},
                                 .workspace = nullptr});
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t i = 0; i < tokens; ++i) {
          const double* from = &out[((b * T + registers + i) * H + h) * D];
          values.insert(values.end(), from, from + tokens);
        }
      }
    }
    return absl::OkStatus();
  }
  std::vector<double> values;  // layer, sequence, head, query, key
};

struct Case {
  const char* name;
  RunConfig config;
  BatchShape batch;
};

std::vector<Case> Cases() {
  const auto bert = [](const char* variant) { return SmallBertConfig(variant); };
  std::vector<Case> cases = {
      {"bert", bert("vanilla"), {.lengths = true, .segments = true}},
      {"documents", bert("gated"), {.documents = true}},
      {"opt", SmallDecoderConfig("opt", "gated"), {.lengths = true, .causal = true}},
      {"bigram_backcopy", SmallDecoderConfig("bigram_backcopy"), {.causal = true}},
      {"registers", SmallDecoderConfig("opt"), {.documents = true, .causal = true}},
      {"clipped", bert("clipped_softmax"), {}},
      {"plus one", bert("softmax_plus_one"), {.lengths = true}},
      {"relu", bert("relu"), {.lengths = true, .documents = true}},
      {"sink logit", bert("learnable_sink"), {}},
      {"sink token", SmallDecoderConfig("opt", "learnable_sink"), {.causal = true}}};
  cases[4].config.model.attention.register_tokens = 2;
  cases[5].config.model.attention.clipped_softmax.gamma = -0.1;
  cases[5].config.model.attention.clipped_softmax.zeta = 1.05;
  cases[8].config.model.attention.learnable_sink = "logit";
  cases[9].config.model.attention.learnable_sink = "token";
  return cases;
}

TEST(AttentionMapsTest, AreWhatTheReferenceMultipliesValuesWith) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    auto engine = MakeEngine(c.config, DType::kFloat64, 3, 7);
    const Batch batch = RandomBatch(c.batch, 5);
    AttentionMapObserver observer(2, 64);
    ReferenceMaps reference;
    ModelLosses losses;
    ASSERT_TRUE(engine->Evaluate(batch, losses, &observer).ok());
    ASSERT_TRUE(engine->Evaluate(batch, losses, &reference).ok());
    ASSERT_EQ(observer.maps().size(), 3u);
    std::vector<double> got;
    for (int layer = 0; layer < 2; ++layer) {
      for (const SequenceMaps& sequence : observer.maps()) {
        ASSERT_EQ(sequence.layers.size(), 2u);
        ASSERT_EQ(sequence.layers[layer].size(), 3u);
        for (const AttentionMap& map : sequence.layers[layer]) {
          EXPECT_EQ(map.tokens, 7);
          got.insert(got.end(), map.p.begin(), map.p.end());
        }
      }
    }
    testing::ExpectClose(c.name, got, reference.values,
                         {.absolute = 1e-14,
                          .relative = testing::UnitRoundoff<float>(),
                          .zeros_expected = true,
                          .derivation = "rounded once to float"});
  }
}

TEST(AttentionMapsTest, TheFirstTokensOfLongSequences) {
  RunConfig config = SmallDecoderConfig("opt");
  config.model.max_position_embeddings = 80;
  auto engine = MakeEngine(config, DType::kFloat32, 1, 80);
  AttentionMapObserver observer(2, 64);
  ModelLosses losses;
  ASSERT_TRUE(
      engine->Evaluate(RandomBatch({.B = 1, .T = 80, .causal = true}, 5), losses, &observer).ok());
  const AttentionMap& map = observer.maps()[0].layers[1][2];
  ASSERT_EQ(map.tokens, 64);
  for (int64_t i = 0; i < 64; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < 64; ++j) sum += map.p[i * 64 + j];
    EXPECT_NEAR(sum, 1, 1e-5);  // 64 numbers in float
    for (int64_t j = i + 1; j < 64; ++j) EXPECT_EQ(map.p[i * 64 + j], 0);
  }
}

TEST(AttentionMapsTest, PicturesAreDarkWhereAttentionIs) {
  const Image image = DrawMap({.tokens = 3, .p = {1, 0, NAN, 0.25f, 0.75f, 0, 0, 7.5f, 1}});
  const int64_t size = 256 / 3;
  ASSERT_EQ(image.width, 3 * size);
  ASSERT_EQ(std::ssize(image.pixels), image.width * image.height);
  const auto pixel = [&](int64_t query, int64_t key) {
    return image.pixels[(query * size + size - 1) * image.width + key * size];
  };
  EXPECT_EQ(pixel(0, 0), 0);
  EXPECT_EQ(pixel(0, 1), 255);
  EXPECT_EQ(pixel(0, 2), 255);
  EXPECT_EQ(pixel(1, 0), 191);  // 255 · 0.75
  EXPECT_EQ(pixel(1, 1), 64);
  EXPECT_EQ(pixel(2, 1), 0);  // as a weight without a softmax may be
}

TEST(AttentionMapsTest, JsonHasFourDigits) {
  SequenceMaps maps = {
      .index = 7, .tokens = {"[CLS]", "\xc3"}, .layers = {{{2, {1, 0, 1.0f / 3, 0.00004f}}}}};
  EXPECT_EQ(AttentionMapsToJson(30, {maps}),
            "{\"step\":30,\"sequences\":[{\"index\":7,\"tokens\":[\"[CLS]\",\"\xef\xbf\xbd\"],"
            "\"layers\":[[[[1,0],[0.3333,0]]]]}]}");
}

}  // namespace
}  // namespace sluice
