// OPT, its projections, the Bigram-Backcopy model and register tokens: every gradient against
// finite differences in double, and the fast models against the double one.
#include "model_gradients.h"
#include "small_model.h"

namespace sluice {
namespace {

using testing::CheckAgainstDouble;
using testing::CheckAgainstFiniteDifferences;
using testing::SmallBertConfig;
using testing::SmallDecoderConfig;

RunConfig WithRegisters(RunConfig config, int64_t registers) {
  config.model.attention.register_tokens = registers;
  return config;
}

TEST(DecoderGradientsTest, OptWithAndWithoutGatesAndMasks) {
  CheckAgainstFiniteDifferences(SmallDecoderConfig("opt"), {.causal = true}, 0);
  for (const char* source : {"value", "input"}) {
    for (const char* site : {"query", "key"}) {
      SCOPED_TRACE(std::string(source) + " " + site);
      RunConfig config = SmallDecoderConfig("opt", "gated");
      config.model.attention.gate = {source, site, /*bias=*/true};
      CheckAgainstFiniteDifferences(config, {.lengths = true, .documents = true, .causal = true},
                                    0.2);
    }
  }
}

TEST(DecoderGradientsTest, OptWithProjectedEmbeddings) {
  RunConfig config = SmallDecoderConfig("opt", "gated");
  config.model.word_embed_proj_dim = 10;
  CheckAgainstFiniteDifferences(config, {.causal = true}, 0.1);
  CheckAgainstFiniteDifferences(WithRegisters(config, 2), {.causal = true}, 0.1);
}

TEST(DecoderGradientsTest, BigramBackcopyOfOneAndThreeLayers) {
  for (const int64_t layers : {1, 3}) {
    RunConfig config = SmallDecoderConfig("bigram_backcopy", layers == 1 ? "vanilla" : "gated");
    config.model.num_hidden_layers = layers;
    CheckAgainstFiniteDifferences(config, {.causal = true}, 0);
  }
}

TEST(DecoderGradientsTest, RegisterTokens) {
  CheckAgainstFiniteDifferences(WithRegisters(SmallDecoderConfig("opt", "gated"), 1),
                                {.lengths = true, .causal = true}, 0.1);
  CheckAgainstFiniteDifferences(WithRegisters(SmallBertConfig("gated"), 3),
                                {.lengths = true, .segments = true, .next_sentence = true}, 0.1);
}

TEST(DecoderGradientsTest, FastModelsAgreeWithDouble) {
  RunConfig projected = SmallDecoderConfig("opt", "gated");
  projected.model.word_embed_proj_dim = 10;
  for (RunConfig config :
       {SmallDecoderConfig("opt"), WithRegisters(SmallDecoderConfig("opt", "gated"), 2), projected,
        SmallDecoderConfig("bigram_backcopy")}) {
    SCOPED_TRACE(config.model.architecture);
    CheckAgainstDouble<float>(config, {.documents = true, .causal = true});
    // bf16 puts some values on the other side of relu's kink, where no bound on roundings holds.
    config.model.hidden_act = "gelu_tanh";
    CheckAgainstDouble<bf16>(config, {.lengths = true, .causal = true});
  }
}

}  // namespace
}  // namespace sluice
