// TokenStore and SequencePacking: shards end to end, cache bounds, where sequences begin.
#include "data/token_store.h"

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/hdf5_handle.h"
#include "data/sequence_packing.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

class TokenStoreTest : public ::testing::Test {
 protected:
  TokenStore Open(const std::vector<Document>& documents, int64_t shard_tokens, int64_t cache_bytes,
                  int64_t vocabulary_size = 300) {
    const Manifest manifest = WriteDataset(absl::StrCat(folder_.path(), "/set", ++sets_), documents,
                                           vocabulary_size, shard_tokens);
    auto store = TokenStore::Open(manifest, cache_bytes);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

  TemporaryFolder folder_;
  int sets_ = 0;
};

// As another program could have written it.
void OverwriteToken(const std::string& shard, hsize_t at, int64_t id) {
  const Hdf5Handle file(H5Fopen(shard.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
  const Hdf5Handle tokens(H5Dopen2(file.id(), shard_format::kTokens, H5P_DEFAULT), H5Dclose);
  const Hdf5Handle all(H5Dget_space(tokens.id()), H5Sclose);
  const hsize_t one = 1;
  const Hdf5Handle memory(H5Screate_simple(1, &one, nullptr), H5Sclose);
  ASSERT_GE(H5Sselect_hyperslab(all.id(), H5S_SELECT_SET, &at, nullptr, &one, nullptr), 0);
  ASSERT_GE(H5Dwrite(tokens.id(), H5T_NATIVE_INT64, memory.id(), all.id(), H5P_DEFAULT, &id), 0);
}

TEST_F(TokenStoreTest, ReadsAcrossShardsAndBlocksWithAnyCache) {
  const auto documents = RandomDocuments(2500, 300, 4);
  const std::vector<int32_t> all = Concatenate(documents);
  const auto total = static_cast<int64_t>(all.size());
  ASSERT_GT(total, 3 * shard_format::kChunkTokens);
  for (int64_t shard_tokens : {int64_t{9000}, int64_t{40000}, int64_t{1} << 30}) {
    for (int64_t cache_bytes : {int64_t{0}, 2 * 2 * shard_format::kChunkTokens, int64_t{1} << 30}) {
      TokenStore store = Open(documents, shard_tokens, cache_bytes);
      EXPECT_EQ(store.token_count(), total);
      for (uint64_t trial = 0; trial < 100; ++trial) {
        const int64_t begin = RandomBelow(8, trial * 2, total);
        const int64_t count = RandomBelow(8, trial * 2 + 1, std::min<int64_t>(total - begin, 3000));
        std::vector<int32_t> ids(static_cast<size_t>(count), -1);
        ASSERT_TRUE(store.Read(begin, count, ids.data()).ok());
        ASSERT_TRUE(std::equal(ids.begin(), ids.end(), all.begin() + begin))
            << "tokens " << begin << " + " << count;
      }
      std::vector<int32_t> whole(all.size(), -1);
      ASSERT_TRUE(store.Read(0, total, whole.data()).ok());
      EXPECT_EQ(whole, all);
    }
  }
}

TEST_F(TokenStoreTest, WideIds) {
  const auto documents = RandomDocuments(300, 70000, 4);
  TokenStore store = Open(documents, 3000, 1 << 20, /*vocabulary_size=*/70000);
  std::vector<int32_t> whole(static_cast<size_t>(store.token_count()), -1);
  ASSERT_TRUE(store.Read(0, store.token_count(), whole.data()).ok());
  EXPECT_EQ(whole, Concatenate(documents));
}

// Whoever wrote them: tables are read where ids say.
TEST_F(TokenStoreTest, IdsThatAreNotInTheVocabularyAreAnError) {
  for (const int64_t vocabulary_size : {300, 70000}) {
    const std::string folder = absl::StrCat(folder_.path(), "/odd", vocabulary_size);
    const auto documents = RandomDocuments(300, vocabulary_size, 4);
    const Manifest manifest = WriteDataset(folder, documents, vocabulary_size, 1 << 30);
    const auto count = std::ssize(Concatenate(documents));
    OverwriteToken(folder + "/shard_00000.h5", static_cast<hsize_t>(count - 1), vocabulary_size);
    auto store = TokenStore::Open(manifest, 1 << 20);
    ASSERT_TRUE(store.ok()) << store.status();
    std::vector<int32_t> whole(static_cast<size_t>(count), -1);
    const absl::Status status = store->Read(0, count, whole.data());
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
    EXPECT_THAT(std::string(status.message()),
                ::testing::HasSubstr(absl::StrCat("id ", vocabulary_size, " among tokens")));
  }
}

TEST_F(TokenStoreTest, ADataSetThatFitsIsReadOnce) {
  const auto documents = RandomDocuments(2500, 300, 4);
  TokenStore large = Open(documents, 1 << 30, 1 << 30);
  TokenStore small = Open(documents, 1 << 30, 0);
  int32_t id = 0;
  for (int64_t trial = 0; trial < 200; ++trial) {
    const int64_t at = RandomBelow(9, static_cast<uint64_t>(trial), large.token_count());
    ASSERT_TRUE(large.Read(at, 1, &id).ok());
    ASSERT_TRUE(small.Read(at, 1, &id).ok());
  }
  const int64_t blocks = (large.token_count() - 1) / shard_format::kChunkTokens + 1;
  EXPECT_EQ(large.blocks_read(), blocks);
  EXPECT_GT(small.blocks_read(), 100);
}

TEST_F(TokenStoreTest, OffsetsOfDocumentsAndRowsDoNotDependOnShards) {
  const auto documents = RandomDocuments(60, 300, 4);
  std::vector<int64_t> expected_documents, expected_rows;
  int64_t at = 0;
  for (const Document& document : documents) {
    expected_documents.push_back(at);
    for (const Row& row : document) {
      expected_rows.push_back(at);
      at += static_cast<int64_t>(row.size());
    }
  }
  expected_documents.push_back(at);
  expected_rows.push_back(at);
  for (int64_t shard_tokens : {1, 500, 1 << 30}) {
    const TokenStore store = Open(documents, shard_tokens, 1 << 20);
    EXPECT_EQ(*store.DocumentOffsets(), expected_documents);
    std::vector<int64_t> rows;
    ASSERT_TRUE(store.VisitRowOffsets([&](int64_t row) { rows.push_back(row); }).ok());
    EXPECT_EQ(rows, expected_rows);
  }
}

TEST_F(TokenStoreTest, ContiguousPackingDropsOnlyTheLastRemainder) {
  const auto documents = RandomDocuments(60, 300, 4);
  const TokenStore store = Open(documents, 500, 1 << 20);
  for (int64_t T : {1, 7, 128, 512}) {
    const auto packing = SequencePacking::Create("contiguous", T, store);
    ASSERT_TRUE(packing.ok()) << packing.status();
    EXPECT_EQ(packing->sequence_count(), store.token_count() / T);
    EXPECT_EQ(packing->dropped_tokens(), store.token_count() % T);
    EXPECT_EQ(packing->Begin(0), 0);
    EXPECT_EQ(packing->Begin(packing->sequence_count() - 1), (packing->sequence_count() - 1) * T);
  }
}

TEST_F(TokenStoreTest, BlocksOf1000RowsDropTheRemainderOfEachBlock) {
  // 3456 rows, as the sum below: the naive count of the same thing.
  std::vector<Document> documents;
  int64_t rows = 0;
  for (const Document& document : RandomDocuments(2000, 300, 6)) {
    if (rows + static_cast<int64_t>(document.size()) > 3456) break;
    rows += static_cast<int64_t>(document.size());
    documents.push_back(document);
  }
  ASSERT_GT(rows, 3000);
  const int64_t T = 100;
  std::vector<int64_t> expected;
  int64_t row = 0, at = 0, block_begin = 0, dropped = 0;
  const auto end_block = [&] {
    int64_t position = block_begin;
    for (; position + T <= at; position += T) expected.push_back(position);
    dropped += at - position;
    block_begin = at;
  };
  for (const Document& document : documents) {
    for (const Row& ids : document) {
      at += static_cast<int64_t>(ids.size());
      if (++row % 1000 == 0) end_block();
    }
  }
  if (block_begin != at) end_block();
  for (int64_t shard_tokens : {5000, 1 << 30}) {
    const TokenStore store = Open(documents, shard_tokens, 1 << 20);
    const auto packing = SequencePacking::Create("blocks_of_1000_rows", T, store);
    ASSERT_TRUE(packing.ok()) << packing.status();
    ASSERT_EQ(packing->sequence_count(), static_cast<int64_t>(expected.size()));
    for (size_t s = 0; s < expected.size(); ++s) {
      EXPECT_EQ(packing->Begin(static_cast<int64_t>(s)), expected[s]);
    }
    EXPECT_EQ(packing->dropped_tokens(), dropped);
    EXPECT_GT(dropped, store.token_count() % T);  // or the two packings would be the same
  }
}

TEST_F(TokenStoreTest, PackingErrors) {
  const TokenStore store = Open(RandomDocuments(1, 300, 4), 500, 1 << 20);
  for (const char* name : {"contiguous", "blocks_of_1000_rows"}) {
    const auto packing = SequencePacking::Create(name, 100000, store);
    EXPECT_EQ(ExitCodeOf(packing.status()), ExitCode::kData);
    EXPECT_THAT(std::string(packing.status().message()),
                ::testing::HasSubstr("too short for one sequence"));
  }
  const auto packing = SequencePacking::Create("tight", 10, store);
  EXPECT_EQ(ExitCodeOf(packing.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(packing.status().message()),
              ::testing::HasSubstr("known: contiguous, blocks_of_1000_rows"));
}

}  // namespace
}  // namespace sluice::testing
