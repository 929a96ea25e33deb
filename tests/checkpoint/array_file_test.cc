#include "checkpoint/array_file.h"

#include "checkpoint/checkpoint_format.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::TemporaryFolder;

class ArrayFileTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/arrays.h5";

  absl::Status WriteFile(const std::string& kind) {
    absl::StatusOr<ArrayFileWriter> file = ArrayFileWriter::Create(path_, kind);
    if (!file.ok()) return file.status();
    const std::vector<float> floats = testing::SampleValues(6, 1);
    absl::Status status = file->Write("z.first", {2, 3}, std::span(floats));
    const std::vector<int64_t> integers = {-1, INT64_MAX, INT64_MIN};
    status.Update(file->Write("group/integers", {3}, std::span(integers)));
    status.Update(file->WriteTexts("texts", {"", "one", "three words é"}));
    const std::vector<double> doubles = {0.1, -1e300};
    status.Update(file->Write("group/doubles", {2, 1, 1}, std::span(doubles)));
    status.Update(file->Close());
    return status;
  }
};

TEST_F(ArrayFileTest, GivesBackEveryTypeInTheOrderOfTheGroup) {
  ASSERT_TRUE(WriteFile("test").ok());
  absl::StatusOr<ArrayFileReader> file = ArrayFileReader::Open(path_, "test");
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::string> names;
  for (const ArrayEntry& entry : file->entries()) names.push_back(entry.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"z.first", "group/integers", "group/doubles", "texts"}));
  std::vector<float> floats(6);
  ASSERT_TRUE(file->Read("z.first", floats).ok());
  testing::ExpectSameBits<float>("floats", floats, testing::SampleValues(6, 1));
  std::vector<int64_t> integers(3);
  ASSERT_TRUE(file->Read("group/integers", integers).ok());
  EXPECT_EQ(integers, (std::vector<int64_t>{-1, INT64_MAX, INT64_MIN}));
  std::vector<double> doubles(2);
  ASSERT_TRUE(file->Read("group/doubles", doubles).ok());
  EXPECT_EQ(doubles, (std::vector<double>{0.1, -1e300}));
  EXPECT_EQ(file->Find("group/doubles")->ShapeText(), "(2, 1, 1)");
  EXPECT_EQ(file->ReadTexts("texts").value(),
            (std::vector<std::string>{"", "one", "three words é"}));
  EXPECT_EQ(file->Find("group"), nullptr);
}

TEST_F(ArrayFileTest, SaysWhatDoesNotFit) {
  ASSERT_TRUE(WriteFile("test").ok());
  EXPECT_EQ(ArrayFileReader::Open(path_, "other").status().message(),
            "is another kind of file: " + path_ + ": expected \"other\", found \"test\"");
  absl::StatusOr<ArrayFileReader> file = ArrayFileReader::Open(path_, "test");
  ASSERT_TRUE(file.ok());
  std::vector<float> five(5);
  EXPECT_EQ(file->Read("z.first", five).message(),
            "array has another size: " + path_ + "/z.first: expected 5 values, found (2, 3)");
  std::vector<double> six(6);
  EXPECT_EQ(file->Read("z.first", six).message(),
            "array has another type: " + path_ + "/z.first: expected fp64, found fp32");
  EXPECT_EQ(file->Read("nothing", five).message(), "array is missing: " + path_ + "/nothing");
}

TEST_F(ArrayFileTest, RefusesForeignFiles) {
  EXPECT_EQ(ExitCodeOf(ArrayFileReader::Open(path_, "test").status()), ExitCode::kCheckpoint);
  testing::SetFileBytes(path_, "this is no HDF5 file at all");
  EXPECT_EQ(ArrayFileReader::Open(path_, "test").status().message(),
            "cannot open HDF5 file: " + path_ + ": file signature not found");
  {  // HDF5, but not ours
    Hdf5Handle file(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    ASSERT_TRUE(file.valid());
  }
  EXPECT_EQ(ArrayFileReader::Open(path_, "test").status().message(),
            "is another kind of file: " + path_ + ": expected \"test\", found \"\"");
}

TEST_F(ArrayFileTest, RefusesAnotherFormatVersion) {
  ASSERT_TRUE(WriteFile("test").ok());
  {
    const Hdf5Handle file(H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const Hdf5Handle version(H5Aopen(file.id(), kVersionAttribute, H5P_DEFAULT), H5Aclose);
    const int64_t two = 2;
    ASSERT_GE(H5Awrite(version.id(), H5T_NATIVE_INT64, &two), 0);
  }
  EXPECT_EQ(ArrayFileReader::Open(path_, "test").status().message(),
            "unknown format version: " + path_ + ": 2, this program reads 1");
}

// Every byte of an array is covered by a checksum of its chunk, or damage shows as an error.
TEST_F(ArrayFileTest, DamageInAnArrayIsFound) {
  ASSERT_TRUE(WriteFile("test").ok());
  const std::string good = testing::FileBytes(path_);
  const std::vector<float> values = testing::SampleValues(6, 1);
  const size_t at = good.find(std::string(reinterpret_cast<const char*>(values.data()), 24));
  ASSERT_NE(at, std::string::npos);
  for (size_t byte = 0; byte < 24; ++byte) {
    std::string bad = good;
    bad[at + byte] = static_cast<char>(bad[at + byte] ^ 0x10);
    testing::SetFileBytes(path_, bad);
    absl::StatusOr<ArrayFileReader> file = ArrayFileReader::Open(path_, "test");
    ASSERT_TRUE(file.ok());
    std::vector<float> floats(6);
    const absl::Status status = file->Read("z.first", floats);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << byte;
    EXPECT_NE(status.message().find("z.first"), absl::string_view::npos) << status;
  }
}

TEST_F(ArrayFileTest, TruncatedFilesNeverCrash) {
  ASSERT_TRUE(WriteFile("test").ok());
  const std::string good = testing::FileBytes(path_);
  for (size_t length = 0; length < good.size(); length += 1 + good.size() / 200) {
    testing::SetFileBytes(path_, good.substr(0, length));
    EXPECT_FALSE(ArrayFileReader::Open(path_, "test").ok()) << length;
  }
}

}  // namespace
}  // namespace sluice
