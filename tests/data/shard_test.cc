// Round trips of one shard, and every way in which a shard can be wrong.
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/hdf5_handle.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"
#include "data/hdf5_attribute.h"
#include "data/shard_reader.h"
#include "data/shard_writer.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

// HDF5 1.10 forgets memory of its own when it gives up on a damaged file; ours is still watched.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace sluice::testing {
namespace {

using shard_format::kBosId;
using shard_format::kCased;
using shard_format::kClsId;
using shard_format::kCreator;
using shard_format::kDocumentCount;
using shard_format::kDocumentOffsets;
using shard_format::kEosId;
using shard_format::kFormatVersion;
using shard_format::kMaskId;
using shard_format::kPadId;
using shard_format::kRowCount;
using shard_format::kRowOffsets;
using shard_format::kSepId;
using shard_format::kTokenCount;
using shard_format::kTokenizerKind;
using shard_format::kUnkId;
using shard_format::kVocabularySha256;
using shard_format::kVocabularySize;
using shard_format::kXxh3;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ShardTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  // A shard of 50 000 tokens in rows of 100, 7 rows a document.
  std::string WriteShard(int64_t vocabulary_size = 1000) {
    const std::string path = Path("shard.h5");
    ShardWriter writer(WriteVocabulary(Path("vocab.txt"), vocabulary_size));
    for (int64_t row = 0; row < 500; ++row) {
      Row ids;
      for (int64_t i = 0; i < 100; ++i) {
        ids.push_back(static_cast<int32_t>(
            RandomBelow(3, static_cast<uint64_t>(row * 100 + i), vocabulary_size)));
      }
      writer.AppendRow(ids);
      ids_.insert(ids_.end(), ids.begin(), ids.end());
      if (row % 7 == 6) writer.EndDocument();
    }
    const auto summary = writer.Write(path);
    EXPECT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->file_bytes, static_cast<int64_t>(std::filesystem::file_size(path)));
    return path;
  }

  // Fails unless opening, or else verifying, gives a DataError that says `message` and the path.
  static void ExpectBroken(const std::string& path, const std::string& message) {
    auto shard = ShardReader::Open(path);
    const absl::Status status = shard.ok() ? shard->Verify() : shard.status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }

  // Opens the file for a change.
  static Hdf5Handle Edit(const std::string& path) {
    SilenceHdf5();
    Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    EXPECT_TRUE(file.valid());
    return file;
  }
  static void SetInteger(const std::string& path, const char* name, int64_t value) {
    const Hdf5Handle file = Edit(path);
    EXPECT_GE(H5Adelete(file.id(), name), 0);
    EXPECT_TRUE(WriteIntegerAttribute(file.id(), name, value));
  }
  template <typename T>
  static void SetElement(const std::string& path, const char* dataset_name, hid_t type,
                         hsize_t index, T value) {
    const Hdf5Handle file = Edit(path);
    const Hdf5Handle dataset(H5Dopen2(file.id(), dataset_name, H5P_DEFAULT), H5Dclose);
    const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
    const Hdf5Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
    ASSERT_GE(H5Sselect_elements(space.id(), H5S_SELECT_SET, 1, &index), 0);
    ASSERT_GE(H5Dwrite(dataset.id(), type, scalar.id(), space.id(), H5P_DEFAULT, &value), 0);
  }

  std::vector<int32_t> ids_;
  TemporaryFolder folder_;
};

TEST_F(ShardTest, RoundTripOfNarrowAndWideIds) {
  for (int64_t vocabulary_size : {1000, 65536, 65537, 200000}) {
    ids_.clear();
    const std::string path = WriteShard(vocabulary_size);
    auto shard = ShardReader::Open(path);
    ASSERT_TRUE(shard.ok()) << shard.status();
    EXPECT_EQ(shard->header().token_bytes, vocabulary_size <= 65536 ? 2 : 4);
    EXPECT_EQ(shard->header().token_count, 50000);
    EXPECT_EQ(shard->header().row_count, 500);
    EXPECT_EQ(shard->header().document_count, 72);  // 71 of 7 rows, and 3 rows left
    EXPECT_EQ(shard->header().tokenizer.special.mask, 4);
    EXPECT_TRUE(shard->Verify().ok()) << shard->Verify();
    std::vector<int32_t> ids(50000, -1);
    ASSERT_TRUE(shard->ReadTokens(0, 50000, ids.data()).ok());
    EXPECT_EQ(ids, ids_);
    std::vector<int32_t> piece(777, -1);
    ASSERT_TRUE(shard->ReadTokens(16000, 777, piece.data()).ok());  // crosses a chunk
    EXPECT_TRUE(std::equal(piece.begin(), piece.end(), ids_.begin() + 16000));
    const auto documents = shard->ReadDocumentOffsets();
    ASSERT_TRUE(documents.ok());
    EXPECT_EQ((*documents)[1], 700);
    EXPECT_EQ(documents->back(), 50000);
  }
}

TEST_F(ShardTest, EmptyRowsAndDocumentsAreDropped) {
  ShardWriter writer(WriteVocabulary(Path("vocab.txt"), 100));
  writer.EndDocument();
  writer.AppendRow({});
  writer.AppendRow(std::vector<int32_t>{2, 7, 3});
  writer.EndDocument();
  writer.EndDocument();
  writer.AppendRow(std::vector<int32_t>{2, 3});
  ASSERT_TRUE(writer.Write(Path("shard.h5")).ok());
  auto shard = ShardReader::Open(Path("shard.h5"));
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_THAT(*shard->ReadDocumentOffsets(), ElementsAre(0, 3, 5));
  EXPECT_THAT(*shard->ReadRowOffsets(), ElementsAre(0, 3, 5));
}

TEST_F(ShardTest, SameRowsGiveTheSameBytes) {
  const auto first = ReadWholeFile(WriteShard());
  const auto second = ReadWholeFile(WriteShard());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Sha256Text(*first), Sha256Text(*second));
}

TEST_F(ShardTest, NotAShard) {
  ExpectBroken(Path("missing.h5"), "shard does not exist");
  ExpectBroken(folder_.path(), "shard is a folder");
  ASSERT_TRUE(WriteFileAtomically(Path("text.h5"), "tokens\n").ok());
  ExpectBroken(Path("text.h5"), "shard is not an HDF5 file");
  ASSERT_TRUE(WriteFileAtomically(Path("empty.h5"), "").ok());
  ExpectBroken(Path("empty.h5"), "shard is not an HDF5 file");
  SilenceHdf5();
  H5Fclose(H5Fcreate(Path("foreign.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  ExpectBroken(Path("foreign.h5"), "is an HDF5 file, but not a token shard");
}

TEST_F(ShardTest, EveryMissingAttributeAndDatasetIsNamed) {
  const std::string path = WriteShard();
  const std::string copy = Path("copy.h5");
  for (const char* name :
       {kTokenizerKind, kCased, kVocabularySize, kPadId, kUnkId, kClsId, kSepId, kMaskId, kBosId,
        kEosId, kVocabularySha256, kTokenCount, kDocumentCount, kRowCount, kXxh3, kCreator}) {
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    ASSERT_GE(H5Adelete(Edit(copy).id(), name), 0);
    ExpectBroken(copy, absl::StrCat("attribute is missing: ", copy, ": ", name));
  }
  for (const char* name : {kDocumentOffsets, kRowOffsets}) {
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    ASSERT_GE(H5Ldelete(Edit(copy).id(), name, H5P_DEFAULT), 0);
    ExpectBroken(copy, absl::StrCat("dataset is missing: ", copy, ": ", name));
  }
}

TEST_F(ShardTest, HeaderOutOfRange) {
  const std::string path = WriteShard();
  const std::string copy = Path("copy.h5");
  const std::tuple<const char*, int64_t, const char*> cases[] = {
      {kFormatVersion, 3, "shard has an unknown format version"},
      {kTokenCount, 49999, "tokens has 50000 elements, expected 49999"},
      {kTokenCount, 0, "header is out of range"},
      {kTokenCount, -5, "header is out of range"},
      {kTokenCount, INT64_MAX, "dataset disagrees with the header"},
      {kRowCount, 499, "row_offsets has 501 elements, expected 500"},
      {kRowCount, 50001, "header is out of range"},
      {kDocumentCount, 0, "header is out of range"},
      {kDocumentCount, 73, "document_offsets has 73 elements, expected 74"},
      {kVocabularySize, 0, "header is out of range"},
      {kVocabularySize, int64_t{1} << 40, "header is out of range"},
      {kVocabularySize, 100000, "dataset has the wrong type"},
      {kVocabularySize, 900, "token is outside of the vocabulary"},
      {kMaskId, 1000, "header is out of range"},
      {kMaskId, -2, "header is out of range"},
      {kEosId, 1000, "header is out of range"},
      {kFormatVersion, 0, "shard has an unknown format version"},
      {kCased, 2, "header is out of range"},
  };
  for (const auto& [name, value, message] : cases) {
    SCOPED_TRACE(absl::StrCat(name, " = ", value));
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    SetInteger(copy, name, value);
    ExpectBroken(copy, message);
  }
}

// As earlier versions wrote it: without bos and eos.
TEST_F(ShardTest, ReadsVersion1) {
  const std::string path = WriteShard();
  SetInteger(path, kFormatVersion, 1);
  for (const char* name : {kBosId, kEosId}) ASSERT_GE(H5Adelete(Edit(path).id(), name), 0);
  const auto shard = ShardReader::Open(path);
  ASSERT_TRUE(shard.ok()) << shard.status();
  EXPECT_EQ(shard->header().format_version, 1);
  EXPECT_EQ(shard->header().tokenizer.special.mask, 4);
  EXPECT_EQ(shard->header().tokenizer.special.bos, -1);
  EXPECT_EQ(shard->header().tokenizer.special.eos, -1);
  EXPECT_TRUE(shard->Verify().ok()) << shard->Verify();
}

TEST_F(ShardTest, AttributesOfTheWrongType) {
  const std::string path = WriteShard();
  {
    const Hdf5Handle file = Edit(path);
    H5Adelete(file.id(), shard_format::kTokenCount);
    ASSERT_TRUE(WriteTextAttribute(file.id(), shard_format::kTokenCount, "many"));
  }
  ExpectBroken(path, "attribute is not an integer");
  SetInteger(path, shard_format::kTokenCount, 50000);
  SetInteger(path, shard_format::kXxh3, 7);
  ExpectBroken(path, "attribute is not a text");
}

TEST_F(ShardTest, OffsetsThatDoNotRise) {
  const std::string path = WriteShard();
  const std::string copy = Path("copy.h5");
  using Case = std::tuple<const char*, hsize_t, uint64_t, const char*>;
  const Case cases[] = {
      {shard_format::kDocumentOffsets, 0, 1, "offsets do not start at 0"},
      {shard_format::kDocumentOffsets, 2, 700, "document_offsets[2] = 700 after 700"},
      {shard_format::kDocumentOffsets, 1, UINT64_MAX, "offsets do not rise"},
      {shard_format::kDocumentOffsets, 72, 50001, "offsets do not end at the token count"},
      {shard_format::kDocumentOffsets, 1, 650, "a document does not start a row"},
      {shard_format::kRowOffsets, 3, 50, "row_offsets[3] = 50 after 200"},
      {shard_format::kRowOffsets, 500, 50001, "row_offsets ends at 50001 of 50000"},
  };
  for (const auto& [name, index, value, message] : cases) {
    std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
    SetElement<uint64_t>(copy, name, H5T_NATIVE_UINT64, index, value);
    ExpectBroken(copy, message);
  }
}

TEST_F(ShardTest, ChangedTokensDoNotMatchTheChecksum) {
  const std::string path = WriteShard();
  SetElement<uint16_t>(path, shard_format::kTokens, H5T_NATIVE_UINT16, 40000,
                       static_cast<uint16_t>((ids_[40000] + 1) % 1000));
  ExpectBroken(path, "tokens do not match their checksum");
}

// Position in the file of the tokens from `index` on.
std::streamoff FindTokens(const std::string& bytes, const std::vector<int32_t>& ids, size_t index) {
  std::string needle;
  for (size_t i = index; i < index + 16; ++i) {
    needle.push_back(static_cast<char>(ids[i] & 0xFF));
    needle.push_back(static_cast<char>(ids[i] >> 8));
  }
  return static_cast<std::streamoff>(bytes.find(needle));
}

TEST_F(ShardTest, FlippedBitOnDiskFailsTheChunkChecksum) {
  const std::string path = WriteShard();
  const auto bytes = ReadWholeFile(path);
  ASSERT_TRUE(bytes.ok());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const std::streamoff at = FindTokens(*bytes, ids_, 20000);
  ASSERT_GT(at, 0);
  file.seekp(at);
  file.put(static_cast<char>((*bytes)[static_cast<size_t>(at)] ^ 1));
  file.close();
  auto shard = ShardReader::Open(path);
  ASSERT_TRUE(shard.ok()) << shard.status();
  std::vector<int32_t> ids(100);
  EXPECT_TRUE(shard->ReadTokens(0, 100, ids.data()).ok());  // another chunk
  const absl::Status status = shard->ReadTokens(20000, 100, ids.data());
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot read tokens"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("letcher32"));
  ExpectBroken(path, "cannot read tokens");
}

TEST_F(ShardTest, EveryTruncationIsAnError) {
  const std::string path = WriteShard();
  const auto size = std::filesystem::file_size(path);
  for (uintmax_t keep : {size - 1, size - 5000, size / 2, uintmax_t{2048}, uintmax_t{100}}) {
    std::filesystem::resize_file(path, keep);
    auto shard = ShardReader::Open(path);
    const absl::Status status = shard.ok() ? shard->Verify() : shard.status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << keep << " bytes: " << status;
  }
}

// Whatever bytes change, reading ends with an answer: right tokens or a DataError, never a crash.
TEST_F(ShardTest, RandomDamageNeverCrashesAndNeverPassesWrongTokens) {
  const std::string path = WriteShard();
  const auto bytes = ReadWholeFile(path);
  ASSERT_TRUE(bytes.ok());
  const std::string copy = Path("copy.h5");
  int detected = 0;
  constexpr int kTrials = 300;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    SCOPED_TRACE(absl::StrCat("trial ", trial));
    std::string damaged = *bytes;
    // Half of the trials hit the first 8 KiB, where HDF5 keeps its structures.
    const int64_t reach = trial % 2 == 0 ? 8192 : static_cast<int64_t>(bytes->size());
    for (uint64_t i = 0; i < 4; ++i) {
      const auto at = static_cast<size_t>(RandomBelow(5, trial * 8 + i * 2, reach));
      damaged[at] = static_cast<char>(RandomBelow(5, trial * 8 + i * 2 + 1, 256));
    }
    std::ofstream(copy, std::ios::binary) << damaged;
    auto shard = ShardReader::Open(copy);
    const absl::Status status = shard.ok() ? shard->Verify() : shard.status();
    if (!status.ok()) {
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
      ++detected;
      continue;
    }
    std::vector<int32_t> ids(50000, -1);
    ASSERT_TRUE(shard->ReadTokens(0, 50000, ids.data()).ok());
    EXPECT_EQ(ids, ids_);  // the damage hit unused bytes
  }
  std::cout << detected << " of " << kTrials << " damaged files detected\n";
  // All but what hits padding: HDF5's structures have checksums too.
  EXPECT_GT(detected, kTrials * 9 / 10);
}

TEST_F(ShardTest, UnwritablePlaceIsADeviceErrorAndLeavesNothing) {
  ShardWriter writer(WriteVocabulary(Path("vocab.txt"), 100));
  writer.AppendRow(std::vector<int32_t>{2, 3});
  const auto summary = writer.Write(Path("no/such/folder/shard.h5"));
  EXPECT_EQ(ExitCodeOf(summary.status()), ExitCode::kDevice);
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("No such file or directory"));
}

}  // namespace
}  // namespace sluice::testing
