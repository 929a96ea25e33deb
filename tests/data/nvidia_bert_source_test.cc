// Batches are the rows of the files: each once an epoch, whatever the files, chunks and splits.
#include "data/nvidia_bert_source.h"

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "data/prefetcher.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nvidia_bert_for_tests.h"
#include "same_batch.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t T = 24, kVocabulary = 300;

class NvidiaBertSourceTest : public ::testing::Test {
 protected:
  NvidiaBertSourceTest() {
    std::filesystem::create_directory(Path("set"));
    WriteNvidiaBert(Path("set/b.hdf5"), parts_[1], {.chunk_rows = 300, .chunk_columns = 4});
    WriteNvidiaBert(Path("set/a.h5"), parts_[0]);
    WriteNvidiaBert(Path("set/c.hdf5"), parts_[2], {.chunk_rows = 0});
    EXPECT_TRUE(WriteFileAtomically(Path("set/notes.md"), "no data").ok());
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  static std::unique_ptr<NvidiaBertSource> Open(const std::string& path,
                                                NvidiaBertSettings settings = {}) {
    settings.sequence_length = T;
    settings.vocabulary_size = kVocabulary;
    auto source = NvidiaBertSource::Open(path, settings);
    EXPECT_TRUE(source.ok()) << source.status();
    return *std::move(source);
  }
  static Batch Fill(BatchSource& source, int64_t first, int64_t count) {
    Batch batch;
    const absl::Status status = source.Fill(first, count, &batch);
    EXPECT_TRUE(status.ok()) << status;
    return batch;
  }
  static void ExpectError(const absl::Status& status, ExitCode code, const std::string& message) {
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
  // One row with everything that belongs to it, as text: rows are alike when these are.
  static std::string RowText(const Batch& batch, int64_t b) {
    std::string text;
    for (int64_t i = b * T; i < (b + 1) * T; ++i) {
      absl::StrAppend(&text, batch.tokens[static_cast<size_t>(i)], "/",
                      batch.segments[static_cast<size_t>(i)], " ");
    }
    absl::StrAppend(&text, "length ", batch.lengths[static_cast<size_t>(b)]);
    for (size_t m = 0; m < batch.targets.size(); ++m) {
      if (batch.target_positions[m] / T != b) continue;
      absl::StrAppend(&text, " ", batch.target_positions[m] % T, ":", batch.targets[m]);
    }
    if (!batch.next_sentence_labels.empty()) {
      absl::StrAppend(&text, " label ", batch.next_sentence_labels[static_cast<size_t>(b)]);
    }
    return text;
  }

  std::vector<NvidiaBertData> parts_ = {RandomNvidiaBert(410, T, 5, kVocabulary, 1),
                                        RandomNvidiaBert(777, T, 4, kVocabulary, 2),
                                        RandomNvidiaBert(13, T, 5, kVocabulary, 3)};
  TemporaryFolder folder_;
};

TEST_F(NvidiaBertSourceTest, EvaluationIsTheRowsInOrder) {
  const auto source = Open(Path("set"), {.next_sentence_labels = true, .evaluation = true});
  ASSERT_EQ(source->sequences_per_epoch(), 1200);
  const Batch batch = Fill(*source, 0, 1200);
  int64_t b = 0;
  size_t m = 0;
  for (NvidiaBertData& part : parts_) {
    for (int64_t row = 0; row < part.rows; ++row, ++b) {
      ASSERT_EQ(batch.next_sentence_labels[static_cast<size_t>(b)],
                part.At("next_sentence_labels", row));
      int64_t length = 0;
      for (int64_t t = 0; t < T; ++t) {
        const auto i = static_cast<size_t>(b * T + t);
        ASSERT_EQ(batch.tokens[i], part.At("input_ids", row, t));
        ASSERT_EQ(batch.segments[i], part.At("segment_ids", row, t));
        length += part.At("input_mask", row, t);
      }
      ASSERT_EQ(batch.lengths[static_cast<size_t>(b)], length);
      for (int64_t p = 0; p < part.P && part.At("masked_lm_positions", row, p) != 0; ++p, ++m) {
        ASSERT_LT(m, batch.targets.size());
        ASSERT_EQ(batch.target_positions[m], b * T + part.At("masked_lm_positions", row, p));
        ASSERT_EQ(batch.targets[m], part.At("masked_lm_ids", row, p));
      }
    }
  }
  EXPECT_EQ(m, batch.targets.size());
  EXPECT_GT(m, 2000u);
  EXPECT_TRUE(std::is_sorted(batch.target_positions.begin(), batch.target_positions.end()));
  EXPECT_TRUE(batch.documents.empty());
  const auto other_seed = Open(Path("set"), {.evaluation = true, .seed = 7});
  EXPECT_EQ(Fill(*other_seed, 0, 1200).tokens, batch.tokens);
  EXPECT_TRUE(Fill(*other_seed, 0, 1200).next_sentence_labels.empty());
}

TEST_F(NvidiaBertSourceTest, AnEpochHasEachRowOnceInANewOrder) {
  std::map<std::string, int64_t> expected;
  const auto evaluation = Open(Path("set"), {.next_sentence_labels = true, .evaluation = true});
  const Batch all = Fill(*evaluation, 0, 1200);
  for (int64_t b = 0; b < 1200; ++b) ++expected[RowText(all, b)];
  const auto source = Open(Path("set"), {.next_sentence_labels = true, .seed = 3});
  std::vector<std::vector<int32_t>> epochs;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const Batch batch = Fill(*source, epoch * 1200, 1200);
    std::map<std::string, int64_t> found;
    for (int64_t b = 0; b < 1200; ++b) {
      ++found[RowText(batch, b)];
      EXPECT_EQ(batch.sample_index[static_cast<size_t>(b)], epoch * 1200 + b);
    }
    EXPECT_EQ(found, expected);
    epochs.push_back(batch.tokens);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[0], all.tokens);
  EXPECT_NE(Fill(*Open(Path("set"), {.seed = 4}), 0, 1200).tokens, epochs[0]);
}

TEST_F(NvidiaBertSourceTest, EachBlockIsReadOnceAnEpoch) {
  const auto source = Open(Path("set"), {.seed = 3});
  for (int64_t first = 0; first < 1200; first += 10) Fill(*source, first, 10);
  // Blocks of 300 rows, the largest chunk: 2 of the first file, 3 of the second, 1 of the third;
  // all of them fit into a window.
  EXPECT_EQ(source->blocks_read(), 6);
  Fill(*source, 1200, 1200);
  EXPECT_EQ(source->blocks_read(), 6);
  const int64_t row_bytes = T * 5 + 5 * 8 + 9;
  EXPECT_EQ(source->memory_bytes(), 6 * 300 * row_bytes);
}

TEST_F(NvidiaBertSourceTest, AnySplitOfABatchGivesTheSameRows) {
  const auto source = Open(Path("set"), {.next_sentence_labels = true, .seed = 5});
  const Batch whole = Fill(*source, 1190, 24);  // two epochs meet in it
  Batch part;
  for (int64_t micro : {1, 3, 8}) {
    for (int64_t first = 0; first < 24; first += micro) {
      ASSERT_TRUE(source->Fill(1190 + first, micro, &part).ok());
      for (int64_t b = 0; b < micro; ++b) {
        ASSERT_EQ(RowText(part, b), RowText(whole, first + b));
      }
    }
  }
  const auto fresh = Open(Path("set"), {.next_sentence_labels = true, .seed = 5});
  EXPECT_TRUE(SameBatch(whole, Fill(*fresh, 1190, 24)));  // as after a resume
}

TEST_F(NvidiaBertSourceTest, PathsAreAFileAFolderOrAList) {
  const auto folder = Open(Path("set"), {.evaluation = true});
  ASSERT_TRUE(WriteFileAtomically(Path("list.txt"), "set/a.h5\n\n  set/b.hdf5\r\nset/c.hdf5").ok());
  EXPECT_TRUE(SameBatch(Fill(*Open(Path("list.txt"), {.evaluation = true}), 0, 1200),
                        Fill(*folder, 0, 1200)));
  const auto file = Open(Path("set/b.hdf5"), {.evaluation = true});
  EXPECT_EQ(file->sequences_per_epoch(), 777);
  EXPECT_EQ(file->name(), Path("set/b.hdf5"));
  EXPECT_EQ(file->Summary(), "777 rows of 24 tokens in 1 file");
  EXPECT_THAT(Open(Path("set"))->Summary(),
              HasSubstr("1200 rows of 24 tokens in 3 files, shuffled"));
  EXPECT_EQ(file->vocabulary_size(), kVocabulary);
  EXPECT_EQ(file->manifest(), nullptr);
}

TEST_F(NvidiaBertSourceTest, FillReusesItsMemory) {
  const auto source = Open(Path("set"), {.next_sentence_labels = true});
  Batch batch;
  ASSERT_TRUE(source->Fill(0, 16, &batch).ok());
  const auto places = [&] {
    return std::vector<const void*>{batch.tokens.data(),
                                    batch.segments.data(),
                                    batch.lengths.data(),
                                    batch.sample_index.data(),
                                    batch.targets.data(),
                                    batch.target_positions.data(),
                                    batch.next_sentence_labels.data()};
  };
  const auto before = places();
  for (int64_t k = 1; k < 60; ++k) {
    ASSERT_TRUE(source->Fill(k * 16, k % 5 == 0 ? 3 : 16, &batch).ok());
  }
  EXPECT_EQ(before, places());
}

TEST_F(NvidiaBertSourceTest, ThroughThePrefetcher) {
  const auto expected = Open(Path("set"), {.next_sentence_labels = true, .seed = 5});
  const auto source = Open(Path("set"), {.next_sentence_labels = true, .seed = 5});
  Prefetcher prefetcher(
      {.depth = 3,
       .range =
           [](int64_t k) {
             return BatchRange{k * 16, k < 100 ? 16 : 0};
           },
       .fill = [&](BatchRange range,
                   Batch* batch) { return source->Fill(range.first_sample, range.count, batch); }});
  for (int64_t k = 0; k < 100; ++k) {
    const auto batch = prefetcher.Next();
    ASSERT_TRUE(batch.ok()) << batch.status();
    ASSERT_TRUE(SameBatch(**batch, Fill(*expected, k * 16, 16)));
  }
  EXPECT_EQ(*prefetcher.Next(), nullptr);
}

TEST_F(NvidiaBertSourceTest, WhatCannotBeOpened) {
  const auto open = [&](const std::string& path, int64_t length, int64_t vocabulary) {
    return NvidiaBertSource::Open(path, {.sequence_length = length, .vocabulary_size = vocabulary})
        .status();
  };
  ExpectError(open(Path("set"), T, 0), ExitCode::kUsage, "model.vocab_size must be set");
  ExpectError(open(Path("set"), 128, kVocabulary), ExitCode::kData,
              absl::StrCat("rows are not of data.sequence_length tokens: ", Path("set/a.h5"),
                           ": 24 tokens, data.sequence_length 128"));
  ExpectError(open(Path("absent"), T, kVocabulary), ExitCode::kData,
              absl::StrCat("file does not exist: ", Path("absent")));
  std::filesystem::create_directory(Path("empty"));
  ExpectError(open(Path("empty"), T, kVocabulary), ExitCode::kData,
              "folder has no file that ends in .hdf5 or .h5");
  ASSERT_TRUE(WriteFileAtomically(Path("empty.txt"), " \n\n").ok());
  ExpectError(open(Path("empty.txt"), T, kVocabulary), ExitCode::kData, "list names no file");
  ExpectError(open(Path("absent.txt"), T, kVocabulary), ExitCode::kData,
              "cannot read list of files");
  ASSERT_TRUE(WriteFileAtomically(Path("wrong.txt"), "set/a.h5\nset/d.hdf5\n").ok());
  ExpectError(open(Path("wrong.txt"), T, kVocabulary), ExitCode::kData, "set/d.hdf5");
  WriteNvidiaBert(Path("set/d.hdf5"), RandomNvidiaBert(9, T + 8, 4, kVocabulary, 4));
  ExpectError(open(Path("set"), T, kVocabulary), ExitCode::kData,
              absl::StrCat("files have rows of different lengths: ", Path("set/d.hdf5"), ": 32, ",
                           Path("set/a.h5"), " has 24"));
}

TEST_F(NvidiaBertSourceTest, ABadValueIsAnErrorOfTheBatchThatNeedsIt) {
  parts_[1].At("input_ids", 700, 2) = kVocabulary;
  WriteNvidiaBert(Path("set/b.hdf5"), parts_[1], {.chunk_rows = 300});
  const auto source = Open(Path("set"), {.evaluation = true});
  Batch batch;
  EXPECT_TRUE(source->Fill(0, 410 + 600, &batch).ok());  // rows 600 and on are another block
  const Batch good = Fill(*source, 410 + 300, 10);
  for (int64_t row : {700, 600, 776}) {  // and again, not from what half was read
    const absl::Status status = source->Fill(410 + row, 1, &batch);
    ExpectError(status, ExitCode::kData,
                absl::StrCat(Path("set/b.hdf5"), ": input_ids[700, 2] = 300"));
  }
  EXPECT_TRUE(SameBatch(Fill(*source, 410 + 300, 10), good));
  EXPECT_TRUE(source->Fill(410 + 777, 13, &batch).ok());
}

}  // namespace
}  // namespace sluice::testing
