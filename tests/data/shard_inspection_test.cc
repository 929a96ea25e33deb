// What inspection and verification say of known shards.
#include "data/shard_inspection.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Documents of 3, 4, 7, 8 and 100 tokens; document d holds the word 10 + d.
std::vector<Document> KnownDocuments() {
  std::vector<Document> documents;
  for (int64_t length : {3, 4, 7, 8, 100}) {
    Row row(static_cast<size_t>(length), static_cast<int32_t>(10 + documents.size()));
    row.front() = 2;
    row.back() = 3;
    documents.push_back({row});
  }
  return documents;
}

class ShardInspectionTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  TemporaryFolder folder_;
};

TEST_F(ShardInspectionTest, CountsLengthsAndSamples) {
  WriteDataset(Path("set"), KnownDocuments(), 50, /*shard_tokens=*/7);
  for (const std::string& path : {Path("set"), Path("set/manifest.yaml")}) {
    const auto inspection = InspectShards(path, {.samples = 100, .sample_tokens = 4});
    ASSERT_TRUE(inspection.ok()) << inspection.status();
    EXPECT_EQ(inspection->headers.size(), 4u);
    EXPECT_TRUE(inspection->has_vocabulary);
    EXPECT_EQ(inspection->document_lengths[1], 1);
    EXPECT_EQ(inspection->document_lengths[2], 2);
    EXPECT_EQ(inspection->document_lengths[3], 1);
    EXPECT_EQ(inspection->document_lengths[6], 1);
    ASSERT_EQ(inspection->samples.size(), 5u);
    EXPECT_EQ(inspection->samples[0].text, "[CLS] w10 [SEP]");
    EXPECT_EQ(inspection->samples[1].text, "[CLS] w11 w11 [SEP]");
    EXPECT_EQ(inspection->samples[4].text, "[CLS] w14 w14 w14");
    EXPECT_EQ(inspection->samples[4].tokens, 100);
    EXPECT_EQ(inspection->samples[4].shard, 3);
  }
}

TEST_F(ShardInspectionTest, SamplesAreSpreadOverAllShards) {
  WriteDataset(Path("set"), RandomDocuments(90, 50, 3), 50, /*shard_tokens=*/1000);
  const auto inspection = InspectShards(Path("set"), {.samples = 3});
  ASSERT_TRUE(inspection.ok()) << inspection.status();
  ASSERT_EQ(inspection->samples.size(), 3u);
  EXPECT_EQ(inspection->samples[0].shard, 0);
  EXPECT_LT(inspection->samples[0].shard, inspection->samples[1].shard);
  EXPECT_LT(inspection->samples[1].shard, inspection->samples[2].shard);
  EXPECT_TRUE(InspectShards(Path("set"), {.samples = 0})->samples.empty());
}

TEST_F(ShardInspectionTest, TextAndJsonSayTheSame) {
  WriteDataset(Path("set"), KnownDocuments(), 50);
  const auto inspection = InspectShards(Path("set"), {});
  ASSERT_TRUE(inspection.ok());
  const std::string text = InspectionText(*inspection);
  EXPECT_THAT(text, HasSubstr("122 tokens, 5 documents, 5 rows (one a document)"));
  EXPECT_THAT(text, HasSubstr("[PAD] 0  [UNK] 1  [CLS] 2  [SEP] 3  [MASK] 4"));
  EXPECT_THAT(text, HasSubstr("[       4,        8)          2  ####"));
  EXPECT_THAT(text, HasSubstr("[      16,       32)          0\n"));  // no bar, but a line
  EXPECT_THAT(text, HasSubstr("[CLS] w10 [SEP]"));
  const nlohmann::json json = InspectionJson(*inspection);
  EXPECT_EQ(json["tokens"], 122);
  EXPECT_EQ(json["documents"], 5);
  EXPECT_EQ(json["tokenizer"]["mask_id"], 4);
  EXPECT_EQ(json["shards"].size(), 1u);
  EXPECT_EQ(json["shards"][0]["token_bytes"], 2);
  EXPECT_EQ(json["document_lengths"][1]["documents"], 2);
  EXPECT_EQ(json["document_lengths"][1]["tokens_from"], 4);
  EXPECT_EQ(json["samples"][0]["text"], "[CLS] w10 [SEP]");
}

TEST_F(ShardInspectionTest, ASingleShardWithAndWithoutItsVocabulary) {
  WriteDataset(Path("set"), KnownDocuments(), 50);
  const std::string shard = Path("set/shard_00000.h5");
  EXPECT_EQ(InspectShards(shard, {})->samples[0].text, "[CLS] w10 [SEP]");
  EXPECT_TRUE(VerifyShards(shard).ok());
  fs::remove(Path("set/vocab.txt"));
  auto inspection = InspectShards(shard, {});
  ASSERT_TRUE(inspection.ok()) << inspection.status();
  EXPECT_FALSE(inspection->has_vocabulary);
  EXPECT_EQ(inspection->samples[0].text, "<2> <10> <3>");
  EXPECT_THAT(InspectionText(*inspection), HasSubstr("no matching vocabulary"));
  WriteVocabulary(Path("set/vocab.txt"), 51);  // another one
  EXPECT_FALSE(InspectShards(shard, {})->has_vocabulary);
  EXPECT_TRUE(VerifyShards(shard).ok());
}

TEST_F(ShardInspectionTest, VerifyChecksTheVocabularyOfAManifest) {
  WriteDataset(Path("set"), KnownDocuments(), 50);
  const auto summary = VerifyShards(Path("set"));
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->shards, 1);
  EXPECT_EQ(summary->documents, 5);
  EXPECT_EQ(summary->tokens, 122);
  WriteVocabulary(Path("set/vocab.txt"), 51);
  EXPECT_THAT(std::string(VerifyShards(Path("set")).status().message()),
              HasSubstr("vocabulary is not the one that the manifest names"));
  fs::remove(Path("set/vocab.txt"));
  EXPECT_EQ(ExitCodeOf(VerifyShards(Path("set")).status()), ExitCode::kData);
}

TEST_F(ShardInspectionTest, WhatIsNoShard) {
  ASSERT_TRUE(WriteFileAtomically(Path("notes.txt"), "hello").ok());
  for (const std::string& path : {Path("notes.txt"), Path("missing"), folder_.path()}) {
    EXPECT_EQ(ExitCodeOf(InspectShards(path, {}).status()), ExitCode::kData) << path;
    EXPECT_EQ(ExitCodeOf(VerifyShards(path).status()), ExitCode::kData) << path;
  }
}

}  // namespace
}  // namespace sluice::testing
