// Batches are functions of sample indices: not of shards, splits, cache or earlier batches.
#include "data/token_shard_source.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"
#include "data/dataset_writer.h"
#include "data/prefetcher.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "same_batch.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kVocabulary = 400;
constexpr int64_t T = 32;

class TokenShardSourceTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  std::string Write(int64_t shard_tokens = int64_t{1} << 30) {
    const std::string path = Path(absl::StrCat("set", ++sets_));
    WriteDataset(path, documents_, kVocabulary, shard_tokens);
    return path;
  }
  static std::unique_ptr<TokenShardSource> Open(const std::string& path,
                                                const TokenShardSettings& settings) {
    auto source = TokenShardSource::Open(path, settings);
    EXPECT_TRUE(source.ok()) << source.status();
    return *std::move(source);
  }
  static Batch Fill(TokenShardSource& source, int64_t first, int64_t count) {
    Batch batch;
    const absl::Status status = source.Fill(first, count, &batch);
    EXPECT_TRUE(status.ok()) << status;
    return batch;
  }
  // The batch as it was before masking.
  static std::vector<int32_t> Originals(const Batch& batch) {
    std::vector<int32_t> tokens = batch.tokens;
    for (size_t m = 0; m < batch.target_positions.size(); ++m) {
      tokens[static_cast<size_t>(batch.target_positions[m])] = batch.targets[m];
    }
    return tokens;
  }

  std::vector<Document> documents_ = RandomDocuments(1200, kVocabulary, 21);
  std::vector<int32_t> all_ = Concatenate(documents_);
  TemporaryFolder folder_;
  int sets_ = 0;
};

TEST_F(TokenShardSourceTest, EvaluationIsTheDataInOrderAndRepeatable) {
  const auto source = Open(Write(4000), {.sequence_length = T, .evaluation = true});
  const int64_t n = source->sequences_per_epoch();
  EXPECT_EQ(n, static_cast<int64_t>(all_.size()) / T);
  EXPECT_EQ(source->dropped_tokens(), static_cast<int64_t>(all_.size()) % T);
  const Batch batch = Fill(*source, 0, n);
  const std::vector<int32_t> originals = Originals(batch);
  EXPECT_TRUE(std::equal(originals.begin(), originals.end(), all_.begin()));
  EXPECT_TRUE(batch.segments.empty() && batch.lengths.empty() && batch.documents.empty());
  const double share =
      static_cast<double>(batch.target_positions.size()) / static_cast<double>(n * T);
  EXPECT_NEAR(share, 0.15 * 0.92, 0.02);  // about 8 % of these tokens are special
  EXPECT_TRUE(std::is_sorted(batch.target_positions.begin(), batch.target_positions.end()));
  // Whatever the seed of the run, evaluation asks the same questions.
  const auto again = Open(Write(4000), {.sequence_length = T, .evaluation = true, .seed = 12345});
  EXPECT_TRUE(SameBatch(batch, Fill(*again, 0, n)));
}

TEST_F(TokenShardSourceTest, AnEpochHasEachSequenceOnceInANewOrder) {
  const auto source = Open(Write(4000), {.sequence_length = T, .seed = 3});
  const int64_t n = source->sequences_per_epoch();
  std::map<std::vector<int32_t>, int64_t> expected;
  for (int64_t s = 0; s < n; ++s) {
    ++expected[std::vector<int32_t>(all_.begin() + s * T, all_.begin() + (s + 1) * T)];
  }
  std::vector<std::vector<int32_t>> epochs;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const Batch batch = Fill(*source, epoch * n, n);
    epochs.push_back(Originals(batch));
    std::map<std::vector<int32_t>, int64_t> found;
    for (int64_t b = 0; b < n; ++b) {
      ++found[std::vector<int32_t>(epochs.back().begin() + b * T,
                                   epochs.back().begin() + (b + 1) * T)];
      EXPECT_EQ(batch.sample_index[static_cast<size_t>(b)], epoch * n + b);
    }
    EXPECT_EQ(found, expected);
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST_F(TokenShardSourceTest, DoesNotDependOnShardsOrCacheOrHistory) {
  for (const char* packing : {"contiguous", "blocks_of_1000_rows"}) {
    TokenShardSettings settings{
        .sequence_length = T, .packing = packing, .attention_across_documents = false, .seed = 5};
    const auto one = Open(Write(), settings);
    settings.cache_bytes = 0;
    const auto many = Open(Write(1500), settings);
    ASSERT_EQ(one->manifest()->shards.size(), 1u);
    ASSERT_GT(many->manifest()->shards.size(), 20u);
    EXPECT_EQ(one->sequences_per_epoch(), many->sequences_per_epoch());
    Batch reused;
    for (int64_t first : {0, 17, 5, 100000}) {
      ASSERT_TRUE(many->Fill(first, 19, &reused).ok());
      EXPECT_TRUE(SameBatch(Fill(*one, first, 19), reused)) << packing << " " << first;
    }
  }
}

TEST_F(TokenShardSourceTest, EveryRowBeginsWithTheStartSymbolAndGoesOnWithTheData) {
  const int64_t data = T - 1;
  for (const char* packing : {"contiguous", "blocks_of_1000_rows"}) {
    TokenShardSettings settings{.sequence_length = T,
                                .packing = packing,
                                .row_start = "every_row",
                                .objective = Objective::kCausal,
                                .evaluation = true};
    const auto source = Open(Write(4000), settings);
    settings.row_start = "document";
    settings.sequence_length = data;
    const auto unprefixed = Open(Write(4000), settings);
    const int64_t n = source->sequences_per_epoch();
    ASSERT_EQ(n, unprefixed->sequences_per_epoch());
    EXPECT_EQ(source->dropped_tokens(), unprefixed->dropped_tokens());
    EXPECT_THAT(source->Summary(), HasSubstr(" sequences of 32 an epoch"));
    EXPECT_THAT(source->Summary(), HasSubstr("tokens dropped, each behind start symbol 2"));
    const Batch batch = Fill(*source, 0, n);
    const Batch rest = Fill(*unprefixed, 0, n);
    ASSERT_EQ(batch.T, T);
    std::vector<int32_t> targets;
    for (int64_t b = 0; b < n; ++b) {
      const auto row = batch.tokens.begin() + b * T;
      ASSERT_EQ(*row, 2) << "[CLS] of row " << b;
      const auto expected = rest.tokens.begin() + b * data;
      ASSERT_TRUE(std::equal(row + 1, row + T, expected)) << "row " << b;
      targets.insert(targets.end(), expected, expected + data);
    }
    // Each token of the data is asked for once, the first of a row behind the symbol alone.
    EXPECT_EQ(batch.targets, targets);
    EXPECT_EQ(batch.target_positions.front(), 0);
    EXPECT_EQ(batch.target_positions.back(), n * T - 2);
  }
}

TEST_F(TokenShardSourceTest, TheStartSymbolIsOfTheRowsFirstDocumentAndNeverATarget) {
  const auto source = Open(Write(500), {.sequence_length = T,
                                        .row_start = "every_row",
                                        .attention_across_documents = false,
                                        .mlm_probability = 0.9,
                                        .evaluation = true});
  const auto unprefixed = Open(Write(500), {.sequence_length = T - 1,
                                            .attention_across_documents = false,
                                            .mlm_probability = 0,
                                            .evaluation = true});
  const int64_t n = source->sequences_per_epoch();
  const Batch batch = Fill(*source, 0, n);
  const Batch rest = Fill(*unprefixed, 0, n);
  const std::vector<int32_t> originals = Originals(batch);
  for (int64_t b = 0; b < n; ++b) {
    const auto row = [b](const std::vector<int32_t>& values) { return values.begin() + b * T; };
    const auto expected = [b](const std::vector<int32_t>& values) {
      return values.begin() + b * (T - 1);
    };
    ASSERT_EQ(*row(batch.documents), 0);
    ASSERT_TRUE(
        std::equal(row(batch.documents) + 1, row(batch.documents) + T, expected(rest.documents)));
    ASSERT_EQ(*row(batch.tokens), 2);
    ASSERT_TRUE(std::equal(row(originals) + 1, row(originals) + T, expected(rest.tokens)));
  }
  EXPECT_GT(batch.targets.size(), static_cast<size_t>(n * T / 2));
  for (int32_t position : batch.target_positions) ASSERT_NE(position % T, 0);
}

TEST_F(TokenShardSourceTest, EveryRowDoesNotDependOnShardsOrCache) {
  TokenShardSettings settings{.sequence_length = T, .row_start = "every_row", .seed = 5};
  const auto one = Open(Write(), settings);
  settings.cache_bytes = 0;
  const auto many = Open(Write(1500), settings);
  for (int64_t first : {0, 17, 5, 100000}) {
    EXPECT_TRUE(SameBatch(Fill(*one, first, 19), Fill(*many, first, 19))) << first;
  }
}

TEST_F(TokenShardSourceTest, AnySplitOfABatchGivesTheSameRows) {
  for (const char* row_start : {"document", "every_row"}) {
    const auto source = Open(Write(), {.sequence_length = T,
                                       .row_start = row_start,
                                       .attention_across_documents = false,
                                       .seed = 5});
    const Batch whole = Fill(*source, 1000, 24);
    for (int64_t micro : {1, 3, 8, 12}) {
      Batch joined;
      joined.B = 24;
      joined.T = T;
      for (int64_t first = 0; first < 24; first += micro) {
        const Batch part = Fill(*source, 1000 + first, micro);
        const auto append = [](auto& to, const auto& from) {
          to.insert(to.end(), from.begin(), from.end());
        };
        append(joined.tokens, part.tokens);
        append(joined.documents, part.documents);
        append(joined.sample_index, part.sample_index);
        for (int32_t position : part.target_positions) {
          joined.target_positions.push_back(position + static_cast<int32_t>(first * T));
        }
        append(joined.targets, part.targets);
      }
      EXPECT_TRUE(SameBatch(whole, joined)) << row_start << ", micro-batches of " << micro;
    }
  }
}

TEST_F(TokenShardSourceTest, DocumentNumbersRiseWhereDocumentsBegin) {
  const auto source = Open(Write(500), {.sequence_length = T,
                                        .attention_across_documents = false,
                                        .mlm_probability = 0,
                                        .evaluation = true});
  std::set<int64_t> starts;
  int64_t at = 0;
  for (const Document& document : documents_) {
    starts.insert(at);
    for (const Row& row : document) at += static_cast<int64_t>(row.size());
  }
  const Batch batch = Fill(*source, 0, source->sequences_per_epoch());
  int64_t changes = 0;
  for (int64_t i = 0; i < batch.B * T; ++i) {
    const int32_t number = batch.documents[static_cast<size_t>(i)];
    if (i % T == 0) {
      ASSERT_EQ(number, 0);
      continue;
    }
    const int32_t step = number - batch.documents[static_cast<size_t>(i - 1)];
    ASSERT_EQ(step, starts.contains(i) ? 1 : 0) << "token " << i;
    changes += step;
  }
  EXPECT_GT(changes, 1000);
}

TEST_F(TokenShardSourceTest, FillReusesItsMemory) {
  const auto source = Open(Write(), {.sequence_length = T, .attention_across_documents = false});
  Batch batch;
  ASSERT_TRUE(source->Fill(0, 16, &batch).ok());
  const std::vector<const void*> before = {batch.tokens.data(), batch.documents.data(),
                                           batch.sample_index.data(), batch.target_positions.data(),
                                           batch.targets.data()};
  for (int64_t k = 1; k < 50; ++k) {
    ASSERT_TRUE(source->Fill(k * 16, k % 5 == 0 ? 3 : 16, &batch).ok());
  }
  const std::vector<const void*> after = {batch.tokens.data(), batch.documents.data(),
                                          batch.sample_index.data(), batch.target_positions.data(),
                                          batch.targets.data()};
  EXPECT_EQ(before, after);
}

TEST_F(TokenShardSourceTest, CausalTargetsAreTheSuccessors) {
  const auto source = Open(
      Write(4000), {.sequence_length = T, .objective = Objective::kCausal, .evaluation = true});
  const int64_t n = source->sequences_per_epoch();
  const Batch batch = Fill(*source, 0, n);
  EXPECT_TRUE(std::equal(batch.tokens.begin(), batch.tokens.end(), all_.begin()));  // none masked
  ASSERT_EQ(std::ssize(batch.targets), n * (T - 1));
  ASSERT_EQ(batch.target_positions.size(), batch.targets.size());
  for (int64_t m = 0; m < n * (T - 1); ++m) {
    const int64_t position = m / (T - 1) * T + m % (T - 1);  // the last of a row is no target
    ASSERT_EQ(batch.target_positions[static_cast<size_t>(m)], position);
    ASSERT_EQ(batch.targets[static_cast<size_t>(m)], all_[static_cast<size_t>(position + 1)]);
  }
  // The order of training is that of the masked objective.
  const auto causal = Open(Write(), {.sequence_length = T, .objective = Objective::kCausal});
  const auto masked = Open(Write(), {.sequence_length = T});
  EXPECT_EQ(Fill(*causal, 7, 20).tokens, Originals(Fill(*masked, 7, 20)));
}

TEST_F(TokenShardSourceTest, NoCausalTargetInAnotherDocument) {
  const auto source = Open(Write(4000), {.sequence_length = T,
                                         .attention_across_documents = false,
                                         .objective = Objective::kCausal,
                                         .evaluation = true});
  const Batch batch = Fill(*source, 0, source->sequences_per_epoch());
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  size_t m = 0;
  int64_t last_of_document = 0;
  for (int64_t i = 0; i < batch.B * T; ++i) {
    if (i % T == T - 1) continue;
    if (batch.documents[at(i)] != batch.documents[at(i + 1)]) {
      ++last_of_document;
      continue;
    }
    ASSERT_LT(m, batch.targets.size());
    ASSERT_EQ(batch.target_positions[m], i);
    ASSERT_EQ(batch.targets[m], all_[at(i + 1)]);
    ++m;
  }
  EXPECT_EQ(m, batch.targets.size());
  EXPECT_GT(last_of_document, 1000);
}

TEST_F(TokenShardSourceTest, SettingsOutOfRange) {
  const std::string path = Write();
  const auto expect = [&](const TokenShardSettings& settings, ExitCode code, const char* message) {
    const auto source = TokenShardSource::Open(path, settings);
    EXPECT_EQ(ExitCodeOf(source.status()), code) << source.status();
    EXPECT_THAT(std::string(source.status().message()), HasSubstr(message));
  };
  expect({.sequence_length = 0}, ExitCode::kUsage, "data.sequence_length");
  expect({.packing = "none"}, ExitCode::kUsage, "data.packing is unknown");
  expect({.row_start = "row"}, ExitCode::kUsage, "data.row_start is unknown");
  expect({.sequence_length = 1, .row_start = "every_row"}, ExitCode::kUsage,
         "every_row leaves no room for data");
  expect({.mlm_probability = 1.5}, ExitCode::kUsage, "data.mlm_probability");
  expect({.mlm_probability = std::nan("")}, ExitCode::kUsage, "data.mlm_probability");
  expect({.mlm_mask_share = 0.95}, ExitCode::kUsage, "exceed 1 together");
  expect({.sequence_length = 1 << 30}, ExitCode::kData, "too short for one sequence");
}

TEST_F(TokenShardSourceTest, NoMaskTokenNoMaskingNoStartSymbolNoRowStart) {
  const std::string json = R"({"a": 0, "b": 1, "c": 2})", merges = "#version: 0.2\n";
  ASSERT_TRUE(WriteFileAtomically(Path("vocab.json"), json).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("merges.txt"), merges).ok());
  const TokenizerIdentity tokenizer{.kind = "bpe",
                                    .cased = true,
                                    .vocabulary_size = 3,
                                    .vocabulary_sha256 = Sha256Text(json + merges)};
  Manifest manifest{.path = Path("manifest.yaml"),
                    .tokenizer = tokenizer,
                    .vocabulary_files = VocabularyFileNames("bpe"),
                    .row_mode = "line",
                    .sources = {}};
  ShardWriter writer(tokenizer);
  writer.AppendRow(std::vector<int32_t>{0, 1, 2, 1, 0, 1});
  const auto summary = writer.Write(Path("shard.h5"));
  ASSERT_TRUE(summary.ok());
  manifest.shards = {{.file = "shard.h5",
                      .tokens = 6,
                      .documents = 1,
                      .rows = 1,
                      .bytes = summary->file_bytes,
                      .xxh3 = summary->header.xxh3}};
  ASSERT_TRUE(WriteManifest(manifest).ok());
  const auto masked = TokenShardSource::Open(folder_.path(), {.sequence_length = 3});
  EXPECT_EQ(ExitCodeOf(masked.status()), ExitCode::kData);
  EXPECT_THAT(std::string(masked.status().message()), HasSubstr("has no [MASK] token"));
  const auto plain = Open(folder_.path(), {.sequence_length = 3, .mlm_probability = 0});
  EXPECT_TRUE(Fill(*plain, 0, 2).target_positions.empty());
  const auto causal = Open(folder_.path(), {.sequence_length = 3, .objective = Objective::kCausal});
  EXPECT_EQ(Fill(*causal, 0, 2).targets.size(), 4u);
  const auto starts = TokenShardSource::Open(
      folder_.path(),
      {.sequence_length = 3, .row_start = "every_row", .objective = Objective::kCausal});
  EXPECT_EQ(ExitCodeOf(starts.status()), ExitCode::kData);
  EXPECT_THAT(std::string(starts.status().message()),
              HasSubstr("has no start symbol ([CLS] or bos)"));
}

TEST_F(TokenShardSourceTest, WithoutItsVocabularyNoDataSetOpens) {
  const std::string path = Write();
  ASSERT_TRUE(WriteFileAtomically(path + "/vocab.txt", "another\none\n").ok());
  const auto another = TokenShardSource::Open(path, {.sequence_length = 16});
  EXPECT_EQ(ExitCodeOf(another.status()), ExitCode::kData);
  EXPECT_THAT(std::string(another.status().message()),
              HasSubstr("vocabulary is not the one that the manifest names"));
  std::filesystem::remove(path + "/vocab.txt");
  const auto missing = TokenShardSource::Open(path, {.sequence_length = 16});
  EXPECT_EQ(ExitCodeOf(missing.status()), ExitCode::kData);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("vocab.txt"));
}

TEST_F(TokenShardSourceTest, ADamagedChunkIsAnErrorOfTheBatchThatNeedsIt) {
  const std::string path = Write();
  const std::string shard = path + "/shard_00000.h5";
  const std::string bytes = *ReadWholeFile(shard);
  std::string needle;
  for (size_t i = 30000; i < 30016; ++i) {
    needle.push_back(static_cast<char>(all_[i] & 0xFF));
    needle.push_back(static_cast<char>(all_[i] >> 8));
  }
  const size_t at = bytes.find(needle);
  ASSERT_NE(at, std::string::npos);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(bytes[at] ^ 4));
  file.close();
  const auto source = Open(path, {.sequence_length = T, .evaluation = true});
  Batch batch;
  EXPECT_TRUE(source->Fill(0, 4, &batch).ok());
  const absl::Status status = source->Fill(30000 / T, 4, &batch);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr(shard));
}

// As in training: one thread reads shards while another writes HDF5 files of its own.
TEST_F(TokenShardSourceTest, ReadsInOneThreadWhileAnotherWrites) {
  TokenShardSettings settings{.sequence_length = T, .seed = 5, .cache_bytes = 0};
  const std::string path = Write(4000);
  const auto expected = Open(path, settings);
  const auto source = Open(path, settings);
  Prefetcher prefetcher(
      {.depth = 3,
       .range =
           [](int64_t k) {
             return BatchRange{k * 16, k < 60 ? 16 : 0};
           },
       .fill = [&](BatchRange range,
                   Batch* batch) { return source->Fill(range.first_sample, range.count, batch); }});
  const TokenizerIdentity tokenizer = WriteVocabulary(Path("vocab.txt"), kVocabulary);
  for (int64_t k = 0; k < 60; ++k) {
    if (k % 6 == 0) {
      ShardWriter writer(tokenizer);
      writer.AppendRow(all_);
      ASSERT_TRUE(writer.Write(Path("other.h5")).ok());
    }
    const auto batch = prefetcher.Next();
    ASSERT_TRUE(batch.ok()) << batch.status();
    ASSERT_TRUE(SameBatch(**batch, Fill(*expected, k * 16, 16)));
  }
  EXPECT_EQ(*prefetcher.Next(), nullptr);
}

}  // namespace
}  // namespace sluice::testing
