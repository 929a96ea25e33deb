// What `inspect` and `verify` say of NVIDIA's layout is what the files hold.
#include "data/nvidia_bert_inspection.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nvidia_bert_for_tests.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

class NvidiaBertInspectionTest : public ::testing::Test {
 protected:
  NvidiaBertInspectionTest() {
    std::filesystem::create_directory(Path("set"));
    WriteNvidiaBert(Path("set/a.hdf5"), first_);
    WriteNvidiaBert(Path("set/b.hdf5"), second_);
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  NvidiaBertData first_ = RandomNvidiaBert(100, 16, 3, 90, 1);
  NvidiaBertData second_ = RandomNvidiaBert(50, 16, 3, 90, 2);
  TemporaryFolder folder_;
};

TEST_F(NvidiaBertInspectionTest, TellsItFromShards) {
  EXPECT_TRUE(NamesNvidiaBert(Path("set")));
  EXPECT_TRUE(NamesNvidiaBert(Path("set/a.hdf5")));
  ASSERT_TRUE(WriteFileAtomically(Path("list.txt"), "set/a.hdf5\n").ok());
  EXPECT_TRUE(NamesNvidiaBert(Path("list.txt")));
  EXPECT_FALSE(NamesNvidiaBert(Path("absent")));
  EXPECT_FALSE(NamesNvidiaBert(folder_.path()));
  WriteDataset(Path("shards"), RandomDocuments(5, 60, 1), 60);
  EXPECT_FALSE(NamesNvidiaBert(Path("shards")));
  EXPECT_FALSE(NamesNvidiaBert(Path("shards/manifest.yaml")));
  EXPECT_FALSE(NamesNvidiaBert(Path("shards/shard_00000.h5")));
}

TEST_F(NvidiaBertInspectionTest, ShowsFilesAndRows) {
  const auto inspection = InspectNvidiaBert(Path("set"), 3);
  ASSERT_TRUE(inspection.ok()) << inspection.status();
  EXPECT_EQ(inspection->rows(), 150);
  ASSERT_EQ(inspection->samples.size(), 3u);  // rows 0, 50 and 100 of all
  EXPECT_EQ(inspection->samples[1].row, 50);
  EXPECT_EQ(inspection->samples[2].file, 1);
  EXPECT_EQ(inspection->samples[2].row, 0);
  const NvidiaBertSample& sample = inspection->samples[1];
  EXPECT_EQ(sample.next_sentence_label, first_.At("next_sentence_labels", 50));
  ASSERT_EQ(std::ssize(sample.ids), sample.length);
  for (int64_t t = 0; t < 16; ++t) {
    ASSERT_EQ(first_.At("input_mask", 50, t), t < sample.length ? 1 : 0);
    if (t < sample.length) {
      ASSERT_EQ(sample.ids[static_cast<size_t>(t)], first_.At("input_ids", 50, t));
    }
  }
  const std::string text = InspectionText(*inspection);
  EXPECT_THAT(text, HasSubstr("layout      NVIDIA BERT, 2 files, 150 rows of 16 tokens\n"));
  EXPECT_THAT(text, HasSubstr("b.hdf5: 50 rows, at most 3 targets each, "));
  const nlohmann::json json = InspectionJson(*inspection);
  EXPECT_EQ(json["layout"], "nvidia_bert");
  EXPECT_EQ(json["files"][0]["rows"], 100);
  EXPECT_EQ(json["files"][1]["bytes"],
            static_cast<int64_t>(std::filesystem::file_size(Path("set/b.hdf5"))));
  EXPECT_EQ(json["samples"][1]["ids"], nlohmann::json(sample.ids));
}

TEST_F(NvidiaBertInspectionTest, VerifiesEveryValue) {
  auto sum = VerifyNvidiaBert(Path("set"));
  ASSERT_TRUE(sum.ok()) << sum.status();
  int64_t tokens = 0, targets = 0, largest = 0;
  for (NvidiaBertData* part : {&first_, &second_}) {
    for (int64_t mask : part->values["input_mask"]) tokens += mask;
    for (int64_t position : part->values["masked_lm_positions"]) targets += position != 0;
    for (const char* name : {"input_ids", "masked_lm_ids"}) {
      for (int64_t id : part->values[name]) largest = std::max(largest, id);
    }
  }
  EXPECT_EQ(sum->files, 2);
  EXPECT_EQ(sum->rows, 150);
  EXPECT_EQ(sum->tokens, tokens);
  EXPECT_EQ(sum->targets, targets);
  EXPECT_EQ(sum->largest_id, largest);
  second_.At("next_sentence_labels", 49) = 3;
  WriteNvidiaBert(Path("set/b.hdf5"), second_);
  sum = VerifyNvidiaBert(Path("set"));
  EXPECT_EQ(ExitCodeOf(sum.status()), ExitCode::kData);
  EXPECT_THAT(std::string(sum.status().message()), HasSubstr("next_sentence_labels[49] = 3"));
}

}  // namespace
}  // namespace sluice::testing
