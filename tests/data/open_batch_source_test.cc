// Each key of the configuration reaches the source that it is about.
#include "data/open_batch_source.h"

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/bigram_backcopy_source.h"
#include "data/nvidia_bert_source.h"
#include "data/token_shard_source.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nvidia_bert_for_tests.h"
#include "same_batch.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

class OpenBatchSourceTest : public ::testing::Test {
 protected:
  OpenBatchSourceTest() {
    WriteDataset(Path("train"), RandomDocuments(1300, 300, 1), 300);
    WriteDataset(Path("valid"), RandomDocuments(80, 300, 2), 300);
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  template <typename Source>
  static Batch Fill(const absl::StatusOr<Source>& source, int64_t first, int64_t count) {
    EXPECT_TRUE(source.ok()) << source.status();
    Batch batch;
    const absl::Status status = (*source)->Fill(first, count, &batch);
    EXPECT_TRUE(status.ok()) << status;
    return batch;
  }
  static void ExpectError(const absl::Status& status, ExitCode code, const std::string& message) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  TemporaryFolder folder_;
};

TEST_F(OpenBatchSourceTest, ShardsAsTheKeysSay) {
  RunConfig config;
  config.training.seed = 42;
  config.data.train = Path("train");
  config.data.validation = {Path("valid"), Path("train")};
  config.data.sequence_length = 77;
  config.data.packing = "blocks_of_1000_rows";
  config.data.row_start = "every_row";
  config.data.attention_across_documents = false;
  config.data.mlm_probability = 0.3;
  config.data.mlm_mask_share = 0.5;
  config.data.mlm_random_share = 0.25;
  TokenShardSettings settings{.sequence_length = 77,
                              .packing = "blocks_of_1000_rows",
                              .row_start = "every_row",
                              .attention_across_documents = false,
                              .mlm_probability = 0.3,
                              .mlm_mask_share = 0.5,
                              .mlm_random_share = 0.25,
                              .seed = 42};
  for (const char* architecture : {"bert", "opt", "bigram_backcopy"}) {
    config.model.architecture = architecture;
    settings.objective =
        config.model.architecture == "bert" ? Objective::kMasked : Objective::kCausal;
    settings.evaluation = false;
    const auto training = OpenTrainingSource(config);
    EXPECT_TRUE(SameBatch(Fill(training, 50, 16),
                          Fill(TokenShardSource::Open(Path("train"), settings), 50, 16)));
    EXPECT_EQ((*training)->name(), Path("train"));
    settings.evaluation = true;
    const auto validation = OpenValidationSources(config);
    ASSERT_TRUE(validation.ok()) << validation.status();
    ASSERT_EQ(validation->size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      const std::string& path = config.data.validation[i];
      EXPECT_EQ((*validation)[i]->name(), path);
      const Batch expected = Fill(TokenShardSource::Open(path, settings), 0, 8);
      Batch batch;
      ASSERT_TRUE((*validation)[i]->Fill(0, 8, &batch).ok());
      EXPECT_TRUE(SameBatch(batch, expected));
      EXPECT_TRUE(SameBatch(Fill(OpenEvaluationSource(config, path), 0, 8), expected));
    }
  }
}

TEST_F(OpenBatchSourceTest, NvidiaBertAsTheKeysSay) {
  NvidiaBertData data = RandomNvidiaBert(300, 24, 4, 90, 1);
  data.At("segment_ids", 299, 1) = 3;  // only where there are four types
  WriteNvidiaBert(Path("a.hdf5"), data);
  RunConfig config;
  config.data.source = "nvidia_bert";
  config.data.train = Path("a.hdf5");
  config.data.validation = {Path("a.hdf5")};
  config.data.sequence_length = 24;
  config.model.vocab_size = 90;
  config.model.type_vocab_size = 4;
  config.training.seed = 9;
  NvidiaBertSettings settings{
      .sequence_length = 24, .vocabulary_size = 90, .segments = 4, .seed = 9};
  for (bool head : {false, true}) {
    config.model.next_sentence_head = settings.next_sentence_labels = head;
    settings.evaluation = false;
    EXPECT_TRUE(SameBatch(Fill(OpenTrainingSource(config), 700, 300),
                          Fill(NvidiaBertSource::Open(Path("a.hdf5"), settings), 700, 300)));
    settings.evaluation = true;
    auto validation = OpenValidationSources(config);
    ASSERT_TRUE(validation.ok()) << validation.status();
    ASSERT_EQ(validation->size(), 1u);
    Batch batch;
    ASSERT_TRUE((*validation)[0]->Fill(0, 300, &batch).ok());
    EXPECT_TRUE(SameBatch(batch, Fill(NvidiaBertSource::Open(Path("a.hdf5"), settings), 0, 300)));
  }
  config.model.vocab_size = 0;
  ExpectError(OpenTrainingSource(config).status(), ExitCode::kUsage,
              "model.vocab_size must be set");
  config.data.source = "shards";
  ExpectError(OpenTrainingSource(config).status(), ExitCode::kData,
              absl::StrCat("is of NVIDIA's BERT layout, not shards: ", Path("a.hdf5"),
                           ": set data.source to nvidia_bert"));
}

TEST_F(OpenBatchSourceTest, BigramBackcopyAsTheKeysSay) {
  RunConfig config;
  config.model.architecture = "bigram_backcopy";
  config.data.source = "bigram_backcopy";
  config.data.sequence_length = 48;
  config.data.validation_sequences = 40;
  config.training.seed = 9;
  const auto training = OpenTrainingSource(config);
  EXPECT_TRUE(
      SameBatch(Fill(training, 1000, 8),
                Fill(BigramBackcopySource::Create({.sequence_length = 48, .seed = 9}), 1000, 8)));
  EXPECT_EQ((*training)->name(), "bigram_backcopy");
  auto validation = OpenValidationSources(config);
  ASSERT_TRUE(validation.ok()) << validation.status();
  ASSERT_EQ(validation->size(), 1u);
  EXPECT_EQ((*validation)[0]->sequences_per_epoch(), 40);
  ExpectError(OpenEvaluationSource(config, "data/wiki").status(), ExitCode::kUsage,
              "generated data has no files to evaluate on: data/wiki");
  config.data.validation_sequences = 0;
  validation = OpenValidationSources(config);
  ASSERT_TRUE(validation.ok()) << validation.status();
  EXPECT_TRUE(validation->empty());
}

TEST_F(OpenBatchSourceTest, WhatCannotBeOpened) {
  RunConfig config;
  config.data.train = Path("absent");
  ExpectError(OpenTrainingSource(config).status(), ExitCode::kData, "absent");
  config.data.train = Path("train");
  config.data.validation = {Path("valid"), Path("missing")};
  ExpectError(OpenValidationSources(config).status(), ExitCode::kData, "missing");
  config.data.source = "tape";
  ExpectError(OpenTrainingSource(config).status(), ExitCode::kUsage, "unknown data.source: tape");
}

}  // namespace
}  // namespace sluice::testing
