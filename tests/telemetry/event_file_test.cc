// Event files: checksums and bytes against TensorBoard's own (event_file_golden.py), and what a
// start makes of what a killed run left. The oracle test reads a file with TensorBoard.
#include "telemetry/event_file.h"

#include <filesystem>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Not there yet.
std::string EmptyFolder(const char* name) {
  static const testing::TemporaryFolder root;
  return absl::StrCat(root.path(), "/", name);
}

std::vector<int64_t> Steps(const std::string& path) {
  const auto records = ReadEventRecords(path);
  EXPECT_TRUE(records.ok()) << records.status();
  std::vector<int64_t> steps;
  for (const std::string& event : records->events) steps.push_back(StepOfEvent(event));
  return steps;
}

// The first event says when it was written, in bytes 1 … 8.
std::string WithoutTime(std::string event) {
  event.replace(1, 8, 8, '\0');
  return event;
}

TEST(EventFileTest, Crc32cOfPublishedVectors) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(EventFileTest, BytesAreTensorBoards) {
  EventFile events;
  ASSERT_TRUE(events.Open(EmptyFolder("bytes"), 0).ok());
  ASSERT_TRUE(events.Write(300, {{"train/loss", 6.25}, {"train/ppl", 1e30}}).ok());
  ASSERT_TRUE(events
                  .Write(1, {},
                         {{.tag = "gates",
                           .minimum = 0.25,
                           .maximum = 1,
                           .count = 3,
                           .sum = 2,
                           .sum_of_squares = 1.5,
                           .bounds = {0.5, 1},
                           .counts = {1, 2}}})
                  .ok());
  ASSERT_TRUE(
      events
          .Write(
              2, {}, {},
              {{.tag = "attention", .width = 2, .height = 3, .png = std::string("png\0\xff", 5)}})
          .ok());
  const auto records = ReadEventRecords(events.path());
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->events.size(), 4u);
  const std::vector<std::string> golden = {
#include "event_file_golden.inc"
  };
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(absl::BytesToHexString(WithoutTime(records->events[i])), golden[i]) << i;
  }
}

TEST(EventFileTest, NumbersThatAreNotFiniteAreWritten) {
  EventFile events;
  ASSERT_TRUE(events.Open(EmptyFolder("infinite"), 0).ok());
  ASSERT_TRUE(events.Write(1, {{"a", std::numeric_limits<double>::infinity()}}).ok());
  ASSERT_TRUE(events.Write(2, {}).ok());  // nothing
  EXPECT_EQ(Steps(events.path()), (std::vector<int64_t>{0, 1}));
}

TEST(EventFileTest, AResumeRemovesLaterStepsAndATornEnd) {
  const std::string folder = EmptyFolder("resume");
  std::string first;
  {
    EventFile events;
    ASSERT_TRUE(events.Open(folder, 0).ok());
    first = events.path();
    for (int64_t step : {10, 20, 30}) ASSERT_TRUE(events.Write(step, {{"loss", 1.0}}).ok());
  }
  fs::resize_file(first, fs::file_size(first) - 3);
  EXPECT_EQ(Steps(first), (std::vector<int64_t>{0, 10, 20}));
  EventFile events;
  ASSERT_TRUE(events.Open(folder, 15).ok());
  EXPECT_EQ(Steps(first), (std::vector<int64_t>{0, 10}));
  EXPECT_LT(first, events.path());
  ASSERT_TRUE(events.Write(16, {{"loss", 1.0}}).ok());
  EXPECT_EQ(Steps(events.path()), (std::vector<int64_t>{0, 16}));

  EventFile anew;
  ASSERT_TRUE(anew.Open(folder, 0).ok());
  EXPECT_EQ(Steps(first), (std::vector<int64_t>{0}));
  EventFile new_run;  // of which nothing was kept, not even step 0
  ASSERT_TRUE(new_run.Open(folder, -1).ok());
  EXPECT_FALSE(fs::exists(first));
  EXPECT_EQ(Steps(new_run.path()), (std::vector<int64_t>{0}));
}

TEST(EventFileTest, DamageEndsTheReading) {
  const std::string folder = EmptyFolder("damage");
  EventFile events;
  ASSERT_TRUE(events.Open(folder, 0).ok());
  for (int64_t step : {1, 2, 3}) ASSERT_TRUE(events.Write(step, {{"loss", 1.0}}).ok());
  const auto whole = ReadEventRecords(events.path());
  const int64_t size = whole->bytes;
  EXPECT_EQ(size, static_cast<int64_t>(fs::file_size(events.path())));
  // Every byte of the last two records matters.
  const auto record = static_cast<int64_t>(EncodeEventRecord(whole->events[3]).size());
  for (int64_t at = size - 2 * record; at < size; ++at) {
    std::fstream file(events.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(at);
    const char old = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(old ^ 4));
    file.close();
    EXPECT_EQ(ReadEventRecords(events.path())->bytes,
              at < size - record ? size - 2 * record : size - record);
    std::fstream back(events.path(), std::ios::binary | std::ios::in | std::ios::out);
    back.seekp(at);
    back.put(old);
  }
  EXPECT_FALSE(ReadEventRecords(folder + "/nothing").ok());
}

TEST(EventFileTest, AFolderThatCannotBeMadeIsAnError) {
  EventFile events;
  const absl::Status status = events.Open("/proc/nothing/tensorboard", 0);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("/proc/nothing"), std::string::npos) << status;
}

}  // namespace
}  // namespace sluice
