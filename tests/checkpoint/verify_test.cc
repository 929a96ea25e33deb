#include "checkpoint/verify.h"

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/durable_file.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::FileBytes;
using testing::MakeSampleCheckpoint;
using testing::SampleCheckpoint;
using testing::SetFileBytes;
using testing::TemporaryFolder;

class VerifyTest : public ::testing::Test {
 protected:
  void Write(int64_t step) {
    SampleCheckpoint sample = MakeSampleCheckpoint(step);
    ASSERT_TRUE(WriteCheckpoint(folder_.path(), sample.Contents()).ok());
  }
  std::string FolderOf(int64_t step) { return folder_.path() + "/" + CheckpointFolderName(step); }

  TemporaryFolder folder_;
};

TEST_F(VerifyTest, FindsAFlippedBitAnywhereInAnyFile) {
  Write(1);
  ASSERT_TRUE(VerifyCheckpoint(FolderOf(1)).ok());
  for (const std::string& name : testing::NamesIn(FolderOf(1))) {
    const std::string path = FolderOf(1) + "/" + name;
    const std::string good = FileBytes(path);
    for (size_t at = 0; at < good.size(); at += 1 + good.size() / 80) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
      SetFileBytes(path, bad);
      const absl::Status status = VerifyCheckpoint(FolderOf(1));
      ASSERT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << name << " byte " << at;
      ASSERT_TRUE(absl::StrContains(status.message(), name)) << status;
    }
    std::string bad = good;  // the very last byte, too
    bad.back() = static_cast<char>(bad.back() ^ 1);
    SetFileBytes(path, bad);
    EXPECT_FALSE(VerifyCheckpoint(FolderOf(1)).ok()) << name;
    SetFileBytes(path, good);
  }
  EXPECT_TRUE(VerifyCheckpoint(FolderOf(1)).ok());
}

TEST_F(VerifyTest, FindsTruncatedLongerAndMissingFiles) {
  Write(1);
  for (const std::string& name : testing::NamesIn(FolderOf(1))) {
    const std::string path = FolderOf(1) + "/" + name;
    const std::string good = FileBytes(path);
    SetFileBytes(path, good.substr(0, good.size() - 1));
    EXPECT_TRUE(absl::StrContains(VerifyCheckpoint(FolderOf(1)).message(), name)) << name;
    SetFileBytes(path, good + "x");
    EXPECT_TRUE(absl::StrContains(VerifyCheckpoint(FolderOf(1)).message(), name)) << name;
    SetFileBytes(path, "");
    EXPECT_TRUE(absl::StrContains(VerifyCheckpoint(FolderOf(1)).message(), name)) << name;
    std::filesystem::remove(path);
    EXPECT_TRUE(absl::StrContains(VerifyCheckpoint(FolderOf(1)).message(), name)) << name;
    SetFileBytes(path, good);
  }
}

// A manifest whose own checksum is right: what it says is judged, too.
class ForgedManifestTest : public VerifyTest {
 protected:
  std::string MessageAfter(const std::string& from, const std::string& to) {
    const std::string path = FolderOf(1) + "/" + kManifestFile;
    const std::string good = FileBytes(path);
    std::string text = absl::StrReplaceAll(good, {{from, to}});
    EXPECT_NE(text, good) << from;
    text.resize(text.rfind("manifest_xxh3"));
    text += "manifest_xxh3: \"" + checkpoint_internal::Xxh3Of(text) + "\"\n";
    SetFileBytes(path, text);
    const absl::Status status = VerifyCheckpoint(FolderOf(1));
    SetFileBytes(path, good);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    return absl::StrReplaceAll(std::string(status.message()), {{FolderOf(1), "F"}});
  }
};

TEST_F(ForgedManifestTest, IsJudged) {
  Write(1);
  EXPECT_EQ(MessageAfter("format_version: 1", "format_version: 2"),
            "unknown format version: F/manifest.yaml: 2, this program reads 1");
  EXPECT_EQ(MessageAfter("sluice checkpoint", "another thing"),
            "manifest is of something else: F/manifest.yaml: another thing");
  EXPECT_EQ(MessageAfter("files:", "note: x\nfiles:"), "unknown key: F/manifest.yaml: note");
  EXPECT_EQ(MessageAfter("\"state.yaml\"", "\"../state.yaml\""),
            "a file name is not one: F/manifest.yaml: ../state.yaml");
  EXPECT_EQ(MessageAfter("\"state.yaml\"", "\"nothing.yaml\""),
            "manifest does not name a file: F: state.yaml");
}

TEST_F(VerifyTest, AFolderWithoutManifestIsNone) {
  Write(1);
  std::filesystem::remove(FolderOf(1) + "/" + kManifestFile);
  EXPECT_EQ(VerifyCheckpoint(FolderOf(1)).message(),
            "manifest is missing: not a checkpoint, or one that was not finished: " + FolderOf(1) +
                "/manifest.yaml");
  EXPECT_FALSE(VerifyCheckpoint(folder_.path() + "/nowhere").ok());
}

TEST_F(VerifyTest, TheNewestThatVerifiesIsFound) {
  EXPECT_EQ(FindNewestCheckpoint(folder_.path() + "/nowhere").value().folder, "");
  EXPECT_EQ(FindNewestCheckpoint(folder_.path()).value().folder, "");
  for (const int64_t step : {900, 1000, 100000000}) Write(step);
  std::filesystem::create_directory(folder_.path() + "/step_12");     // not a name of ours
  std::filesystem::create_directory(FolderOf(200000000));             // not finished
  SetFileBytes(FolderOf(100000000) + "/" + kStateFile, "step: 7\n");  // damaged
  SetFileBytes(folder_.path() + "/step_99999999", "a file");
  const absl::StatusOr<NewestCheckpoint> newest = FindNewestCheckpoint(folder_.path());
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->step, 1000);
  EXPECT_EQ(newest->folder, FolderOf(1000));
  ASSERT_EQ(newest->skipped.size(), 2u);
  EXPECT_EQ(newest->skipped[0].folder, FolderOf(200000000));
  EXPECT_TRUE(absl::StrContains(newest->skipped[0].reason, "manifest is missing"));
  EXPECT_EQ(newest->skipped[1].folder, FolderOf(100000000));
  EXPECT_TRUE(absl::StrContains(newest->skipped[1].reason, "state.yaml"));
  EXPECT_EQ(ListCheckpointSteps(folder_.path()).value(),
            (std::vector<int64_t>{900, 1000, 100000000, 200000000}));
}

}  // namespace
}  // namespace sluice
