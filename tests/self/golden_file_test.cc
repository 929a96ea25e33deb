#include "support/golden_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kGolden[] = "tests/golden/bert_tiny_vga_query.golden";

// The layout from its definition, not from the reader: length, header, data.
std::string GoldenBytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

absl::StatusOr<GoldenFile> ReadBytes(const std::string& bytes) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/x.golden";
  std::ofstream(path, std::ios::binary) << bytes;
  return ReadGolden(path);
}

TEST(GoldenFile, ReadsNamesShapesAndValues) {
  const float floats[] = {1.5f, -2.0f};
  const int64_t integers[] = {7};
  std::string data(16, '\0');
  std::memcpy(data.data(), floats, 8);
  std::memcpy(data.data() + 8, integers, 8);
  const auto golden = ReadBytes(GoldenBytes(
      R"({"__metadata__": {"torch": "2"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets":
         [0, 8]}, "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}})",
      data));
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(golden->At("a").shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(golden->At("a").floats, (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(golden->At("b").integers, (std::vector<int64_t>{7}));
  EXPECT_EQ(golden->At("b").size(), 1);
  EXPECT_EQ(golden->metadata.at("torch"), "2");
}

TEST(GoldenFile, SaysWhatIsWrongWithAFile) {
  const std::string entry = R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})";
  const struct {
    std::string bytes, words;
  } cases[] = {
      {"", "truncated"},
      {GoldenBytes(entry, std::string(7, '\0')), "do not agree"},
      {GoldenBytes(entry, std::string(9, '\0')), "no array owns"},
      {GoldenBytes(R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})",
                   std::string(8, '\0')),
       "do not agree"},
      {GoldenBytes(R"({"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}})",
                   std::string(8, '\0')),
       "unknown dtype"},
      {GoldenBytes(R"({"a": {"shape": [2]}})", ""), "bad header"},
      {GoldenBytes("{", ""), "bad header"},
      {GoldenBytes(entry, "").substr(0, 20), "within its header"},
  };
  for (const auto& [bytes, words] : cases) {
    const auto golden = ReadBytes(bytes);
    ASSERT_FALSE(golden.ok()) << words;
    EXPECT_THAT(std::string(golden.status().message()), HasSubstr(words));
    EXPECT_THAT(std::string(golden.status().message()), HasSubstr("x.golden"));
    EXPECT_EQ(ExitCodeOf(golden.status()), ExitCode::kData);
  }
  EXPECT_THAT(std::string(ReadGolden("tests/golden/none.golden").status().message()),
              HasSubstr("make_goldens.py"));
}

// log(sum exp) - logit of the target, meaned over the targets, in double: what is stored fits
// together.
double MeanCrossEntropy(const GoldenFile& golden) {
  const GoldenArray& logits = golden.At("logits");
  const int64_t targets = logits.shape[0], vocabulary = logits.shape[1];
  double loss = 0;
  for (int64_t row = 0; row < targets; ++row) {
    double sum = 0;
    for (int64_t id = 0; id < vocabulary; ++id) {
      sum += std::exp(static_cast<double>(logits.floats[row * vocabulary + id]));
    }
    loss += std::log(sum) - logits.floats[row * vocabulary + golden.At("targets").integers[row]];
  }
  return loss / static_cast<double>(targets);
}

TEST(GoldenFile, TheCommittedGoldenFitsTogether) {
  const auto golden = ReadGolden(kGolden);
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(golden->metadata.at("gate_site"), "query");
  EXPECT_NEAR(MeanCrossEntropy(*golden), golden->At("loss").floats[0], 1e-5);
  int weights = 0;
  for (const auto& [name, array] : golden->arrays) {
    if (name.rfind("weight/", 0) != 0) continue;
    ++weights;
    const GoldenArray& gradient = golden->At("gradient/" + name.substr(7));
    EXPECT_EQ(gradient.shape, array.shape) << name;
  }
  EXPECT_EQ(weights, 46);
  EXPECT_EQ(golden->At("weight/bert.encoder.layer.1.attention.self.gate.weight").shape,
            (std::vector<int64_t>{2, 32}));
}

}  // namespace
}  // namespace sluice::testing
