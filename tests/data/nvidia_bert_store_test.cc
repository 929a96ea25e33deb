// Blocks are the rows of the files; those that were used last stay in memory.
#include "data/nvidia_bert_store.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nvidia_bert_for_tests.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

class NvidiaBertStoreTest : public ::testing::Test {
 protected:
  NvidiaBertStore Open(int64_t chunk_rows) {
    WriteNvidiaBert(Path(), data_, {.chunk_rows = chunk_rows});
    auto store = NvidiaBertStore::Open(Path(), {});
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  std::string Path() const { return absl::StrCat(folder_.path(), "/a.hdf5"); }

  NvidiaBertData data_ = RandomNvidiaBert(1300, 8, 2, 50, 1);
  TemporaryFolder folder_;
};

TEST_F(NvidiaBertStoreTest, BlocksAreWholeChunks) {
  EXPECT_EQ(Open(400).rows_of_block(), (std::vector<int64_t>{400, 400, 400, 100}));
  EXPECT_EQ(Open(1300).rows_of_block(), (std::vector<int64_t>{1300}));
  // Small chunks, and none, are read in runs.
  const std::vector<int64_t> runs = {256, 256, 256, 256, 256, 20};
  EXPECT_EQ(Open(16).rows_of_block(), runs);
  EXPECT_EQ(Open(0).rows_of_block(), runs);
}

// Rows of 2^20 tokens: a block holds 2^23, whatever the chunks.
TEST_F(NvidiaBertStoreTest, LongRowsMakeSmallBlocks) {
  NvidiaBertData data{.rows = 20, .T = 1 << 20, .P = 1, .values = {}};
  NvidiaBertLayout layout{.chunk_rows = 20, .chunk_columns = 4096};
  for (const char* name : {"input_ids", "input_mask", "segment_ids", "masked_lm_positions",
                           "masked_lm_ids", "next_sentence_labels"}) {
    data.values[name];
  }
  WriteNvidiaBert(Path(), data, layout);
  const auto store = NvidiaBertStore::Open(Path(), {});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(store->rows_of_block(), (std::vector<int64_t>{8, 8, 4}));
}

TEST_F(NvidiaBertStoreTest, KeepsTheBlocksThatWereUsedLast) {
  NvidiaBertStore store = Open(300);
  store.KeepBlocks(2);
  EXPECT_EQ(store.memory_bytes(), 2 * 300 * (8 * 5 + 2 * 8 + 9));
  int64_t read = 0;
  const struct {
    int64_t block;
    bool is_read;
  } uses[] = {{0, true}, {1, true},  {0, false}, {2, true},  {0, false},
              {1, true}, {0, false}, {4, true},  {0, false}, {1, true}};
  for (const auto& [block, is_read] : uses) {
    const auto rows = store.Block(block);
    ASSERT_TRUE(rows.ok()) << rows.status();
    read += is_read;
    EXPECT_EQ(store.blocks_read(), read) << block;
    const int64_t count = store.rows_of_block()[static_cast<size_t>(block)];
    ASSERT_EQ(std::ssize((*rows)->tokens), count * 8);
    EXPECT_TRUE(std::equal((*rows)->tokens.begin(), (*rows)->tokens.end(),
                           data_.values["input_ids"].begin() + block * 300 * 8));
  }
}

}  // namespace
}  // namespace sluice::testing
