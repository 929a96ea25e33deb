// BERT in double on the reference kernels: every gradient against finite differences, and the fast
// fp32 and bf16 models against the double one.
#include "model_gradients.h"
#include "small_model.h"

namespace sluice {
namespace {

using testing::CheckAgainstDouble;
using testing::CheckAgainstFiniteDifferences;
using testing::SmallBertConfig;

TEST(BertGradientsTest, VanillaWithEveryHead) {
  CheckAgainstFiniteDifferences(SmallBertConfig(), {.segments = true, .next_sentence = true}, 0);
}

TEST(BertGradientsTest, EveryGateWithDropoutAndMasks) {
  for (const char* source : {"value", "input"}) {
    for (const char* site : {"query", "key"}) {
      for (bool bias : {false, true}) {
        SCOPED_TRACE(std::string(source) + " " + site + (bias ? " bias" : ""));
        CheckAgainstFiniteDifferences(SmallBertConfig("gated", source, site, bias),
                                      {.lengths = true, .documents = bias}, 0.2);
      }
    }
  }
}

TEST(BertGradientsTest, PaperTextInitializationAndOtherActivations) {
  for (const char* activation : {"gelu_tanh", "relu"}) {
    RunConfig config = SmallBertConfig("gated");
    config.model.hidden_act = activation;
    config.model.initialization = "paper_text";
    CheckAgainstFiniteDifferences(config, {.documents = true}, 0.1);
  }
}

TEST(BertGradientsTest, Fp32AgreesWithDouble) {
  CheckAgainstDouble<float>(SmallBertConfig(), {});
  CheckAgainstDouble<float>(SmallBertConfig("gated", "value", "query"), {.documents = true});
  CheckAgainstDouble<float>(SmallBertConfig("gated", "input", "key", true), {.lengths = true});
}

TEST(BertGradientsTest, Bf16AgreesWithDouble) {
  CheckAgainstDouble<bf16>(SmallBertConfig(), {});
  CheckAgainstDouble<bf16>(SmallBertConfig("gated", "value", "key"), {.lengths = true});
  CheckAgainstDouble<bf16>(SmallBertConfig("gated", "input", "query", true), {.documents = true});
}

}  // namespace
}  // namespace sluice
