// OPT against PyTorch and transformers: loss, logits and every gradient of OPT-tiny in fp32, with
// gates and with a projected token table. tests/golden/make_goldens.py wrote the goldens.
#include "golden_model.h"

namespace sluice {
namespace {

class OptGoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(OptGoldenTest, LossLogitsAndGradientsEqualPyTorchs) {
  const auto golden =
      testing::ReadGolden(std::string("tests/golden/opt_tiny_") + GetParam() + ".golden");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const testing::GoldenArray& positions = golden->At("weight/model.decoder.embed_positions.weight");
  ModelConfig model = testing::GoldenModelConfig(*golden, "model.decoder.embed_tokens.weight",
                                                 "model.decoder.layers.0.fc1.bias");
  model.architecture = "opt";
  model.word_embed_proj_dim = model.hidden_size;  // the token table's width
  model.hidden_size = positions.shape[1];
  model.max_position_embeddings = positions.shape[0] - 2;
  const testing::GoldenArray& ids = golden->At("input_ids");
  Batch batch;
  batch.B = ids.shape[0];
  batch.T = ids.shape[1];
  batch.tokens = testing::Int32(ids);
  batch.target_positions = testing::Int32(golden->At("positions"));
  batch.targets = testing::Int32(golden->At("targets"));
  for (int64_t b = 0; b < batch.B; ++b) batch.sample_index.push_back(b);
  testing::ExpectGoldenStep(*golden, model, batch);
}

INSTANTIATE_TEST_SUITE_P(Variants, OptGoldenTest,
                         ::testing::Values("vanilla", "vga_query", "vga_key", "iga_query",
                                           "projected"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace sluice
