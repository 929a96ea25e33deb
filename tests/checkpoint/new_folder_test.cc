#include "checkpoint/new_folder.h"

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;

class NewFolderTest : public ::testing::Test {
 protected:
  std::string At(const std::string& name) const { return folder_.path() + "/" + name; }
  const std::string& folder() const { return folder_.path(); }
  static absl::Status WriteOne(const std::string& temporary) {
    testing::SetFileBytes(temporary + "/file", "content");
    return absl::OkStatus();
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(NewFolderTest, AppearsWhole) {
  ASSERT_TRUE(WriteNewFolder(At("a/b/new"), WriteOne).ok());
  EXPECT_EQ(testing::FileBytes(At("a/b/new/file")), "content");
  EXPECT_THAT(testing::NamesIn(At("a/b")), ElementsAre("new"));  // nothing temporary is left
  ASSERT_TRUE(WriteNewFolder(At("slash/"), WriteOne).ok());
  EXPECT_EQ(testing::FileBytes(At("slash/file")), "content");
  std::filesystem::create_directory(At("empty"));
  ASSERT_TRUE(WriteNewFolder(At("empty"), WriteOne).ok());
  EXPECT_EQ(testing::FileBytes(At("empty/file")), "content");
}

TEST_F(NewFolderTest, NothingIsOverwritten) {
  ASSERT_TRUE(WriteNewFolder(At("full"), WriteOne).ok());
  testing::SetFileBytes(At("file"), "x");
  std::filesystem::create_symlink(At("nowhere"), At("dangling"));
  const auto unreachable = [](const std::string&) -> absl::Status {
    ADD_FAILURE() << "was asked to fill";
    return absl::OkStatus();
  };
  for (const char* name : {"full", "full/", "file", "dangling"}) {
    const absl::Status status = WriteNewFolder(At(name), unreachable);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << name;
    EXPECT_NE(std::string(status.message()).find(At(name)), std::string::npos) << status;
  }
  EXPECT_EQ(ExitCodeOf(WriteNewFolder("", unreachable)), ExitCode::kUsage);
}

TEST_F(NewFolderTest, AFolderThatAppearedMeanwhileStays) {
  const absl::Status status = WriteNewFolder(At("new"), [&](const std::string& temporary) {
    std::filesystem::create_directory(At("new"));
    testing::SetFileBytes(At("new/theirs"), "x");
    return WriteOne(temporary);
  });
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
  EXPECT_THAT(testing::NamesIn(folder()), ElementsAre("new"));
  EXPECT_THAT(testing::NamesIn(At("new")), ElementsAre("theirs"));
}

TEST_F(NewFolderTest, AnErrorLeavesNothing) {
  const absl::Status status = WriteNewFolder(At("new"), [&](const std::string& temporary) {
    EXPECT_TRUE(WriteOne(temporary).ok());
    return DataError("no");
  });
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
  EXPECT_TRUE(testing::NamesIn(folder()).empty());
  testing::SetFileBytes(At("file"), "x");
  EXPECT_EQ(ExitCodeOf(WriteNewFolder(At("file/new"), WriteOne)), ExitCode::kDevice);
}

}  // namespace
}  // namespace sluice
