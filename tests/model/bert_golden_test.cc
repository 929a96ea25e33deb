// BERT against PyTorch and transformers: loss, logits and every gradient of BERT-tiny in fp32, for
// every gate. tests/golden/make_goldens.py wrote the goldens.
#include "golden_model.h"

namespace sluice {
namespace {

class BertGoldenTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BertGoldenTest, LossLogitsAndGradientsEqualPyTorchs) {
  const auto golden =
      testing::ReadGolden(std::string("tests/golden/bert_tiny_") + GetParam() + ".golden");
  ASSERT_TRUE(golden.ok()) << golden.status();
  ModelConfig model = testing::GoldenModelConfig(*golden, "bert.embeddings.word_embeddings.weight",
                                                 "bert.encoder.layer.0.intermediate.dense.bias");
  model.max_position_embeddings =
      golden->At("weight/bert.embeddings.position_embeddings.weight").shape[0];
  const testing::GoldenArray& ids = golden->At("input_ids");
  Batch batch;
  batch.B = ids.shape[0];
  batch.T = ids.shape[1];
  batch.tokens = testing::Int32(ids);
  batch.segments = testing::Int32(golden->At("token_type_ids"));
  batch.lengths = testing::Int32(golden->At("lengths"));
  batch.target_positions = testing::Int32(golden->At("masked_positions"));
  batch.targets = testing::Int32(golden->At("targets"));
  for (int64_t b = 0; b < batch.B; ++b) batch.sample_index.push_back(b);
  testing::ExpectGoldenStep(*golden, model, batch);
}

INSTANTIATE_TEST_SUITE_P(Variants, BertGoldenTest,
                         ::testing::Values("vanilla", "vga_query", "vga_key", "iga_query",
                                           "iga_key"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace sluice
