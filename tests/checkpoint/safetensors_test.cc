#include "checkpoint/safetensors.h"

#include <cstring>

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// A file of a header and `bytes` zeros; `length` replaces the header's own.
std::string FileOf(const std::string& header, size_t bytes, int64_t length = -1) {
  const uint64_t value = length < 0 ? header.size() : static_cast<uint64_t>(length);
  std::string file(8, '\0');
  std::memcpy(file.data(), &value, 8);
  return file + header + std::string(bytes, '\0');
}

class SafetensorsTest : public ::testing::Test {
 protected:
  std::string path() const { return folder_.path() + "/x.safetensors"; }
  absl::StatusOr<SafetensorsReader> Open(const std::string& bytes) const {
    testing::SetFileBytes(path(), bytes);
    return SafetensorsReader::Open(path());
  }
  // Opening fails with the file's name and `message`.
  void ExpectRefused(const std::string& bytes, const std::string& message) const {
    SCOPED_TRACE(bytes.substr(0, 200));
    const absl::Status status = Open(bytes).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path()));
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(SafetensorsTest, RoundTripKeepsEveryBit) {
  const std::vector<float> values = {1.5f, -0.0f, 1e-42f, HUGE_VALF, 3, 4};
  const std::vector<int64_t> ids = {-1, 9007199254740993};
  ASSERT_TRUE(WriteSafetensors(path(),
                               {SafetensorsTensor::Of("w", {2, 3}, values),
                                SafetensorsTensor::Of("ids", {2}, ids),
                                SafetensorsTensor::Of("scalar", {}, std::span(values).first(1)),
                                SafetensorsTensor::Of("none", {0, 5}, std::span<const float>())},
                               {{"format", "pt"}})
                  .ok());
  const auto file = SafetensorsReader::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(file->entries().size(), 4u);
  EXPECT_EQ(file->entries()[0].name, "ids");  // wide types first
  EXPECT_THAT(file->Find("w")->dims, ElementsAre(2, 3));
  std::vector<float> read(6);
  std::vector<int64_t> read_ids(2);
  ASSERT_TRUE(file->Read("w", std::span<float>(read)).ok());
  ASSERT_TRUE(file->Read("ids", std::span<int64_t>(read_ids)).ok());
  EXPECT_EQ(std::memcmp(read.data(), values.data(), 24), 0);
  EXPECT_EQ(read_ids, ids);
  EXPECT_TRUE(file->Read("none", std::span<float>()).ok());
  EXPECT_EQ(file->Find("absent"), nullptr);
}

TEST_F(SafetensorsTest, BytesAreThoseOfTheFormat) {
  const std::vector<float> values = {1};
  ASSERT_TRUE(WriteSafetensors(path(), {SafetensorsTensor::Of("w", {1}, values)}, {}).ok());
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(testing::FileBytes(path()), FileOf(padded, 0) + std::string("\0\0\x80\x3f", 4));
}

TEST_F(SafetensorsTest, NarrowTypesAreWidened) {
  const uint16_t bf16_bits[] = {0x3f80, 0xc040, 0x0001};
  const uint16_t fp16_bits[] = {0x3c00, 0xc200, 0x0001, 0x7bff, 0xfc00};
  const auto bytes = [](const auto& bits) {
    return absl::string_view(reinterpret_cast<const char*>(bits), sizeof(bits));
  };
  ASSERT_TRUE(WriteSafetensors(path(),
                               {{"b", SafetensorsType::kBFloat16, {3}, bytes(bf16_bits)},
                                {"h", SafetensorsType::kFloat16, {5}, bytes(fp16_bits)}},
                               {})
                  .ok());
  const auto file = SafetensorsReader::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> b(3), h(5);
  ASSERT_TRUE(file->Read("b", std::span<float>(b)).ok());
  ASSERT_TRUE(file->Read("h", std::span<float>(h)).ok());
  EXPECT_THAT(b, ElementsAre(1.0f, -3.0f, 0x1p-133f));
  EXPECT_THAT(h, ElementsAre(1.0f, -3.0f, 0x1p-24f, 65504.0f, -HUGE_VALF));
}

TEST_F(SafetensorsTest, ReadsOnlyWhatIsThere) {
  const std::vector<float> values = {1, 2};
  const std::vector<int64_t> ids = {1};
  ASSERT_TRUE(WriteSafetensors(
                  path(),
                  {SafetensorsTensor::Of("w", {2}, values), SafetensorsTensor::Of("ids", {1}, ids)},
                  {})
                  .ok());
  const auto file = SafetensorsReader::Open(path());
  std::vector<float> floats(3);
  std::vector<int64_t> integers(2);
  const auto message = [](const absl::Status& status) { return std::string(status.message()); };
  EXPECT_THAT(message(file->Read("v", std::span<float>(floats))), HasSubstr("missing tensor"));
  EXPECT_THAT(message(file->Read("w", std::span<float>(floats))),
              HasSubstr("tensor w: (2), expected 3 elements"));
  EXPECT_THAT(message(file->Read("ids", std::span(floats).first(1))), HasSubstr("tensor ids: I64"));
  EXPECT_THAT(message(file->Read("w", std::span(integers))), HasSubstr("tensor w: F32"));
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) - 1);
  EXPECT_THAT(message(file->Read("w", std::span(floats).first(2))), HasSubstr("cannot read"));
}

TEST_F(SafetensorsTest, RefusesFilesThatAreNoSafetensors) {
  ExpectRefused("", "too short to be a safetensors file");
  ExpectRefused("1234567", "7 bytes");
  ExpectRefused(FileOf("{}", 0, 3), "impossible header length");
  ExpectRefused(FileOf("{}", 0, INT64_MAX), "impossible header length");
  ExpectRefused(FileOf("{}", 100, 100'000'001), "100000001 bytes of header");
  ExpectRefused(FileOf("", 0), "does not begin with {");
  ExpectRefused(FileOf("[]", 0), "does not begin with {");
  ExpectRefused(FileOf(" {}", 0), "does not begin with {");
  ExpectRefused(FileOf("{", 0), "is not JSON");
  ExpectRefused(FileOf("{} x", 0), "is not JSON");
  ExpectRefused(FileOf(R"({"a":1e999})", 0), "is not JSON");
  ExpectRefused(FileOf("{\"a\xff\":1}", 0), "is not JSON");
  EXPECT_THAT(std::string(SafetensorsReader::Open(path() + "x").status().message()),
              HasSubstr("no such file"));
  EXPECT_TRUE(Open(FileOf("{}", 0)).ok());
  EXPECT_TRUE(Open(FileOf("{}   ", 0)).ok());
}

TEST_F(SafetensorsTest, RefusesEntriesThatAreWrong) {
  const auto refused = [&](const std::string& entry, const std::string& message) {
    ExpectRefused(FileOf("{\"w\":" + entry + "}", 8), message);
  };
  ASSERT_TRUE(Open(FileOf(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8)).ok());
  refused("7", "tensor w: 7");
  refused("{}", "entry lacks a key");
  refused(R"({"dtype":"F32","shape":[2]})", "tensor w: data_offsets");
  refused(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1})", "unknown key");
  refused(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})", "unknown dtype");
  refused(R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})", "unknown dtype");
  refused(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", "shape is not a list");
  refused(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", "tensor w: [-2]");
  refused(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", "tensor w: [2.0]");
  refused(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})", "what is not a size");
  refused(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})",
          "what is not a size");
  refused(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})", "too large");
  refused(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})", "not [begin, end]");
  refused(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8.5]})", "not [begin, end]");
  refused(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "end before they begin");
  refused(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", "8 bytes, expected 12");
  refused(R"({"dtype":"BF16","shape":[2],"data_offsets":[0,8]})", "expected 4 for BF16 (2)");
  ExpectRefused(FileOf(R"({"__metadata__":7})", 0), "__metadata__ is not an object");
  ExpectRefused(FileOf(R"({"__metadata__":{"a":1}})", 0), "a: 1");
}

TEST_F(SafetensorsTest, RefusesNamesThatAppearTwice) {
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  ExpectRefused(FileOf("{\"w\":" + entry + ",\"w\":" + entry + "}", 4), "a key appears twice");
  ExpectRefused(FileOf(R"({"w":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}})", 4),
                "shape");
}

TEST_F(SafetensorsTest, RefusesGapsOverlapsAndOtherSizes) {
  const auto two = [](int a, int b, int c, int d) {
    return absl::StrCat(R"({"a":{"dtype":"U8","shape":[)", b - a, R"(],"data_offsets":[)", a, ",",
                        b, R"(]},"b":{"dtype":"U8","shape":[)", d - c, R"(],"data_offsets":[)", c,
                        ",", d, "]}}");
  };
  EXPECT_TRUE(Open(FileOf(two(0, 4, 4, 8), 8)).ok());
  EXPECT_TRUE(Open(FileOf(two(4, 8, 0, 4), 8)).ok());
  EXPECT_TRUE(Open(FileOf(two(4, 4, 0, 4), 4)).ok());
  ExpectRefused(FileOf(two(0, 4, 5, 8), 8), "gap before a tensor");
  ExpectRefused(FileOf(two(1, 4, 4, 8), 8), "tensor a: begins at byte 1, expected 0");
  ExpectRefused(FileOf(two(0, 4, 3, 8), 8), "tensors overlap");
  ExpectRefused(FileOf(two(0, 8, 0, 8), 8), "tensors overlap");
  ExpectRefused(FileOf(two(0, 4, 4, 8), 7), "file is truncated");
  ExpectRefused(FileOf(two(0, 4, 4, 8), 9), "file is longer than its tensors");
}

TEST_F(SafetensorsTest, EveryTruncationOfAFileIsRefused) {
  const std::vector<float> values = {1, 2, 3};
  ASSERT_TRUE(
      WriteSafetensors(path(), {SafetensorsTensor::Of("w", {3}, values)}, {{"a", "b"}}).ok());
  const std::string whole = testing::FileBytes(path());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(ExitCodeOf(Open(whole.substr(0, size)).status()), ExitCode::kCheckpoint) << size;
  }
  EXPECT_TRUE(Open(whole).ok());
}

TEST_F(SafetensorsTest, ADiskThatDeclinesIsADeviceError) {
  const std::vector<float> values = {1};
  const absl::Status status =
      WriteSafetensors(path() + "/absent/x", {SafetensorsTensor::Of("w", {1}, values)}, {});
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kDevice);
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot create file"));
}

}  // namespace
}  // namespace sluice
