// What is written is what is read, whatever the types and chunks; and what is wrong is refused with
// the file's name and the check that failed.
#include "data/nvidia_bert_file.h"

#include <filesystem>
#include <functional>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nvidia_bert_for_tests.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 150, T = 32, P = 6, kVocabulary = 200;

class NvidiaBertFileTest : public ::testing::Test {
 protected:
  std::string Path() const { return absl::StrCat(folder_.path(), "/part.hdf5"); }
  void Write(const NvidiaBertLayout& layout = {}) const { WriteNvidiaBert(Path(), data_, layout); }

  // Header and all rows; the status of the first that fails.
  absl::Status Read(NvidiaBertRows* rows) const {
    const auto header = ReadNvidiaBertHeader(Path());
    if (!header.ok()) return header.status();
    return ReadNvidiaBertRows(Path(), *header, {.vocabulary_size = kVocabulary}, 0, header->rows,
                              rows);
  }
  void ExpectError(const std::string& what, const std::string& values) const {
    NvidiaBertRows rows;
    const absl::Status status = Read(&rows);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_EQ(status.message(),
              absl::StrCat(what, ": ", Path(), values.empty() ? "" : absl::StrCat(": ", values)));
  }

  NvidiaBertData data_ = RandomNvidiaBert(kRows, T, P, kVocabulary, 1);
  TemporaryFolder folder_;
};

template <typename V>
std::vector<int64_t> Wide(const std::vector<V>& values) {
  return {values.begin(), values.end()};
}

TEST_F(NvidiaBertFileTest, ReadsWhatWasWritten) {
  const std::map<std::string, hid_t> wide = {{"input_ids", H5T_STD_I64BE},
                                             {"input_mask", H5T_STD_I32LE},
                                             {"segment_ids", H5T_STD_U8LE},
                                             {"masked_lm_positions", H5T_STD_U16BE},
                                             {"next_sentence_labels", H5T_STD_I64LE}};
  const NvidiaBertLayout layouts[] = {
      {},
      {.chunk_rows = 0},
      {.chunk_rows = 1000, .chunk_columns = 1000, .compressed = false},
      {.chunk_rows = 7, .chunk_columns = 5, .types = wide}};
  for (const NvidiaBertLayout& layout : layouts) {
    SCOPED_TRACE(layout.chunk_rows);
    Write(layout);
    const auto header = ReadNvidiaBertHeader(Path());
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->rows, kRows);
    EXPECT_EQ(header->sequence_length, T);
    EXPECT_EQ(header->predictions, P);
    EXPECT_EQ(header->chunk_rows, std::clamp<int64_t>(layout.chunk_rows, 1, kRows));
    NvidiaBertRows rows;
    ASSERT_TRUE(Read(&rows).ok());
    EXPECT_EQ(Wide(rows.tokens), data_.values["input_ids"]);
    EXPECT_EQ(Wide(rows.segments), data_.values["segment_ids"]);
    EXPECT_EQ(Wide(rows.positions), data_.values["masked_lm_positions"]);
    EXPECT_EQ(Wide(rows.targets), data_.values["masked_lm_ids"]);
    EXPECT_EQ(Wide(rows.next_sentence_labels), data_.values["next_sentence_labels"]);
    for (int64_t r = 0; r < kRows; ++r) {
      int64_t length = 0, count = 0;
      for (int64_t t = 0; t < T; ++t) length += data_.At("input_mask", r, t);
      for (int64_t p = 0; p < P; ++p) count += data_.At("masked_lm_positions", r, p) != 0;
      EXPECT_EQ(rows.lengths[static_cast<size_t>(r)], length);
      EXPECT_EQ(rows.counts[static_cast<size_t>(r)], count);
    }
    // A part of the file is that part of the whole, in memory of another size.
    ASSERT_TRUE(ReadNvidiaBertRows(Path(), *header, {}, 61, 9, &rows).ok());
    ASSERT_EQ(std::ssize(rows.tokens), 9 * T);
    EXPECT_TRUE(std::equal(rows.tokens.begin(), rows.tokens.end(),
                           data_.values["input_ids"].begin() + 61 * T));
    EXPECT_EQ(rows.next_sentence_labels[0], data_.At("next_sentence_labels", 61));
  }
}

TEST_F(NvidiaBertFileTest, LooksLikeItself) {
  Write();
  EXPECT_TRUE(LooksLikeNvidiaBert(Path()));
  EXPECT_FALSE(LooksLikeNvidiaBert(Path() + ".absent"));
  EXPECT_FALSE(LooksLikeNvidiaBert(folder_.path()));
  Write({.left_out = {"input_ids"}});
  EXPECT_FALSE(LooksLikeNvidiaBert(Path()));
}

// Files as a whole.

TEST_F(NvidiaBertFileTest, AbsentFile) { ExpectError("file does not exist", ""); }

TEST_F(NvidiaBertFileTest, Folder) {
  std::filesystem::create_directory(Path());
  ExpectError("is a folder, not a file", "");
}

TEST_F(NvidiaBertFileTest, Text) {
  ASSERT_TRUE(WriteFileAtomically(Path(), "input_ids input_mask\n").ok());
  ExpectError("is not an HDF5 file", "");
}

TEST_F(NvidiaBertFileTest, ForeignHdf5) {
  Write({.left_out = {"input_ids"}});
  ExpectError("is an HDF5 file, but not of NVIDIA's BERT layout", "no dataset input_ids");
}

// Never a crash, never success, whatever the length.
TEST_F(NvidiaBertFileTest, TruncatedAnywhere) {
  Write();
  const std::string bytes = *ReadWholeFile(Path());
  for (size_t length = 0; length < bytes.size(); length += bytes.size() / 97 + 1) {
    ASSERT_TRUE(WriteFileAtomically(Path(), absl::string_view(bytes.data(), length)).ok());
    NvidiaBertRows rows;
    const absl::Status status = Read(&rows);
    ASSERT_EQ(ExitCodeOf(status), ExitCode::kData) << length;
    EXPECT_THAT(std::string(status.message()), HasSubstr(Path()));
  }
}

TEST_F(NvidiaBertFileTest, ReplacedWhileInUse) {
  Write();
  const auto header = ReadNvidiaBertHeader(Path());
  ASSERT_TRUE(header.ok());
  WriteNvidiaBert(Path(), RandomNvidiaBert(kRows - 1, T, P, kVocabulary, 1));
  NvidiaBertRows rows;
  const absl::Status status = ReadNvidiaBertRows(Path(), *header, {}, 0, 9, &rows);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("file has changed since it was opened"));
}

// Datasets.

TEST_F(NvidiaBertFileTest, EachDatasetIsNeeded) {
  for (const char* name : {"input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids",
                           "next_sentence_labels"}) {
    Write({.left_out = {name}});
    ExpectError("dataset is missing", name);
  }
}

TEST_F(NvidiaBertFileTest, RealNumbers) {
  Write({.types = {{"masked_lm_ids", H5T_IEEE_F32LE}}});
  ExpectError("dataset has the wrong type", "masked_lm_ids, expected integers");
}

TEST_F(NvidiaBertFileTest, Texts) {
  Write({.compressed = false, .types = {{"segment_ids", H5T_C_S1}}});
  ExpectError("dataset has the wrong type", "segment_ids, expected integers");
}

TEST_F(NvidiaBertFileTest, OneDimensionTooFew) {
  Write({.shapes = {{"input_ids", {kRows * T}}}});
  ExpectError("dataset has the wrong number of dimensions", "input_ids has 1, expected 2");
}

TEST_F(NvidiaBertFileTest, OneDimensionTooMany) {
  Write({.shapes = {{"next_sentence_labels", {kRows, 1}}}});
  ExpectError("dataset has the wrong number of dimensions",
              "next_sentence_labels has 2, expected 1");
}

TEST_F(NvidiaBertFileTest, NoRows) {
  Write({.chunk_rows = 0, .compressed = false, .shapes = {{"input_ids", {0, T}}}});
  ExpectError("dataset has an impossible shape", "input_ids 0 x 32");
}

TEST_F(NvidiaBertFileTest, OtherNumbersOfRows) {
  Write({.shapes = {{"masked_lm_ids", {kRows - 1, P}}}});
  ExpectError("datasets disagree about their shape", "masked_lm_ids is 149 x 6, expected 150 x 6");
}

TEST_F(NvidiaBertFileTest, OtherWidths) {
  Write({.shapes = {{"segment_ids", {kRows, T + 1}}}});
  ExpectError("datasets disagree about their shape", "segment_ids is 150 x 33, expected 150 x 32");
}

TEST_F(NvidiaBertFileTest, TargetsOfAnotherWidthThanPositions) {
  Write({.shapes = {{"masked_lm_ids", {kRows, P + 1}}}});
  ExpectError("datasets disagree about their shape", "masked_lm_ids is 150 x 7, expected 150 x 6");
}

TEST_F(NvidiaBertFileTest, MoreTargetsThanTokens) {
  Write({.shapes = {{"masked_lm_positions", {kRows, T + 1}}, {"masked_lm_ids", {kRows, T + 1}}}});
  ExpectError("more targets than tokens a row", "33 > 32");
}

TEST_F(NvidiaBertFileTest, ADamagedChunk) {
  Write({.chunk_rows = 1000, .chunk_columns = 1000});
  std::string bytes = *ReadWholeFile(Path());
  const size_t zlib = bytes.find("\x78\x5e");  // deflate at level 4 begins so
  ASSERT_NE(zlib, std::string::npos);
  for (size_t i = zlib + 40; i < zlib + 80; ++i) bytes[i] = static_cast<char>(~bytes[i]);
  ASSERT_TRUE(WriteFileAtomically(Path(), bytes).ok());
  NvidiaBertRows rows;
  const absl::Status status = Read(&rows);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot read dataset"));
}

// Values.

struct BadValue {
  const char* name;
  const char* dataset;
  int64_t row, column;
  int64_t value;
  const char* values;
};

class NvidiaBertValueTest : public NvidiaBertFileTest,
                            public ::testing::WithParamInterface<BadValue> {};

TEST_P(NvidiaBertValueTest, IsRefused) {
  // A row that is known: 20 tokens, targets at 4, 7 and 19.
  const BadValue& bad = GetParam();
  for (int64_t t = 0; t < T; ++t) {
    data_.At("input_mask", 77, t) = t < 20;
    data_.At("input_ids", 77, t) = t < 20 ? 9 : 0;
    data_.At("segment_ids", 77, t) = 0;
  }
  const int64_t positions[] = {4, 7, 19, 0, 0, 0};
  for (int64_t p = 0; p < P; ++p) {
    data_.At("masked_lm_positions", 77, p) = positions[p];
    data_.At("masked_lm_ids", 77, p) = positions[p];
  }
  // Wide types, so that every value can be written.
  const NvidiaBertLayout layout{.types = {{"input_ids", H5T_STD_I64LE},
                                          {"input_mask", H5T_STD_I64LE},
                                          {"segment_ids", H5T_STD_I64LE},
                                          {"masked_lm_ids", H5T_STD_I64LE},
                                          {"next_sentence_labels", H5T_STD_I64LE}}};
  Write(layout);
  NvidiaBertRows rows;
  ASSERT_TRUE(Read(&rows).ok()) << Read(&rows);
  data_.At(bad.dataset, bad.row, bad.column) = bad.value;
  Write(layout);
  ExpectError("value is out of range", bad.values);
}

INSTANTIATE_TEST_SUITE_P(
    Values, NvidiaBertValueTest,
    ::testing::ValuesIn(std::vector<BadValue>{
        {"IdTooLarge", "input_ids", 77, 3, 200, "input_ids[77, 3] = 200, expected an id below 200"},
        {"IdNegative", "input_ids", 77, 3, -1, "input_ids[77, 3] = -1, expected an id below 200"},
        {"IdOfPadding", "input_ids", 77, 31, 200,
         "input_ids[77, 31] = 200, expected an id below 200"},
        {"IdBeyond32Bits", "input_ids", 77, 3, (int64_t{1} << 32) + 5,
         "input_ids[77, 3] = 2147483647, expected an id below 200"},
        {"NoToken", "input_mask", 77, 0, 0, "input_mask[77, 0] = 0, a row has at least one token"},
        {"HoleInTheMask", "input_mask", 77, 9, 0,
         "input_mask[77, 10] = 1, expected ones and then zeros"},
        {"MaskIsNoTruthValue", "input_mask", 77, 19, 2,
         "input_mask[77, 19] = 2, expected ones and then zeros"},
        {"ThirdSegment", "segment_ids", 77, 8, 2,
         "segment_ids[77, 8] = 2, expected a segment below 2"},
        {"NegativeSegment", "segment_ids", 77, 8, -3,
         "segment_ids[77, 8] = -3, expected a segment below 2"},
        {"PositionInThePadding", "masked_lm_positions", 77, 2, 20,
         "masked_lm_positions[77, 2] = 20, the row has 20 tokens"},
        {"PositionNegative", "masked_lm_positions", 77, 0, -4,
         "masked_lm_positions[77, 0] = -4, the row has 20 tokens"},
        {"PositionTwice", "masked_lm_positions", 77, 1, 4,
         "masked_lm_positions[77, 1] = 4, does not rise after 4"},
        {"PositionsFall", "masked_lm_positions", 77, 0, 8,
         "masked_lm_positions[77, 1] = 7, does not rise after 8"},
        {"PositionAfterTheEnd", "masked_lm_positions", 77, 4, 19,
         "masked_lm_positions[77, 4] = 19, expected zeros after the first"},
        {"TargetTooLarge", "masked_lm_ids", 77, 1, 250,
         "masked_lm_ids[77, 1] = 250, expected an id below 200"},
        {"TargetNegative", "masked_lm_ids", 77, 1, -2,
         "masked_lm_ids[77, 1] = -2, expected an id below 200"},
        {"Label", "next_sentence_labels", 149, 0, 2,
         "next_sentence_labels[149] = 2, expected 0 or 1"},
        {"LabelNegative", "next_sentence_labels", 0, 0, -1,
         "next_sentence_labels[0] = -1, expected 0 or 1"}}),
    [](const auto& bad) { return std::string(bad.param.name); });

}  // namespace
}  // namespace sluice::testing
