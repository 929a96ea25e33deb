#include "checkpoint/json_file.h"

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

void ExpectRefused(const std::string& text, const std::string& message) {
  const absl::Status status = ParseJsonObject(text, "config.json").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << text.substr(0, 99);
  EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << text.substr(0, 99);
  EXPECT_THAT(std::string(status.message()), HasSubstr("config.json")) << text.substr(0, 99);
}

TEST(JsonFileTest, ReadsOneObject) {
  const auto json = ParseJsonObject(
      R"( {"a": {"x": 1}, "b": {"x": 2}, "c": [{"x": 1}, {"x": 2}]} )", "config.json");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)["b"]["x"], 2);
}

TEST(JsonFileTest, RefusesWhatIsNotOne) {
  ExpectRefused("", "is not JSON");
  ExpectRefused("{\"a\": 1", "is not JSON");
  ExpectRefused("{\"a\": 1} {}", "is not JSON");
  ExpectRefused("{'a': 1}", "at byte 2");
  ExpectRefused("[1]", "is not a JSON object");
  ExpectRefused("null", "is not a JSON object");
  ExpectRefused(R"({"a": 1, "b": 2, "a": 1})", "a key appears twice: config.json: a");
  ExpectRefused(R"({"b": [{"c": {"x": 1, "x": 2}}]})", "a key appears twice: config.json: x");
  ExpectRefused(R"({"a": 1e999})", "is not JSON");
  ExpectRefused("{\"a\": " + std::string(1'000'000, '['), "is not JSON");
  ExpectRefused(std::string(1'000'000, '[') + std::string(1'000'000, ']'), "is not a JSON object");
}

TEST(JsonFileTest, ReadsFiles) {
  testing::TemporaryFolder folder;
  testing::SetFileBytes(folder.path() + "/a.json", "{\"a\": 1}");
  EXPECT_EQ(ReadJsonFile(folder.path() + "/a.json").value()["a"], 1);
  EXPECT_EQ(ExitCodeOf(ReadJsonFile(folder.path() + "/b.json").status()), ExitCode::kCheckpoint);
  EXPECT_EQ(ExitCodeOf(ReadJsonFile(folder.path()).status()), ExitCode::kCheckpoint);
}

}  // namespace
}  // namespace sluice
