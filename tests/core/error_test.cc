#include "core/error.h"

#include <vector>

#include "core/out_of_memory.h"
#include "core/status.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(ErrorTest, JoinsWhatWhereAndValues) {
  const absl::Status status =
      DataError("shard is truncated", "train_00003.h5", "expected 10, found 7");
  EXPECT_EQ(status.message(), "shard is truncated: train_00003.h5: expected 10, found 7");
  EXPECT_EQ(UsageError("no configuration given").message(), "no configuration given");
}

TEST(ErrorTest, CarriesTheExitCodeThroughMacrosAndAnnotation) {
  auto inner = []() -> absl::StatusOr<int> { return CheckpointError("manifest is missing"); };
  auto outer = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const int value, inner());
    (void)value;
    return absl::OkStatus();
  };
  const absl::Status status = Annotate(outer(), "resume");
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_EQ(status.message(), "resume: manifest is missing");
}

TEST(ErrorTest, EveryKindHasItsCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kDone);
  EXPECT_EQ(ExitCodeOf(UsageError("x")), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(DataError("x")), ExitCode::kData);
  EXPECT_EQ(ExitCodeOf(CheckpointError("x")), ExitCode::kCheckpoint);
  EXPECT_EQ(ExitCodeOf(DeviceError("x")), ExitCode::kDevice);
  EXPECT_EQ(ExitCodeOf(DivergedError("x")), ExitCode::kDiverged);
  EXPECT_EQ(ExitCodeOf(StoppedOnRequest("x")), ExitCode::kResumable);
  EXPECT_EQ(static_cast<int>(ExitCode::kResumable), 75);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("x")), ExitCode::kDevice);  // never 0
}

TEST(OutOfMemoryTest, BothExceptionsOfTheLibraryBecomeAnError) {
  bool ran_out = false;
  EXPECT_TRUE(CatchOutOfMemory([] { return absl::OkStatus(); }, &ran_out).ok());
  EXPECT_FALSE(ran_out);
  const absl::Status other = CatchOutOfMemory([] { return DataError("x"); }, &ran_out);
  EXPECT_EQ(ExitCodeOf(other), ExitCode::kData);
  EXPECT_FALSE(ran_out);
  const absl::Status allocation =
      CatchOutOfMemory([]() -> absl::Status { throw std::bad_alloc(); }, &ran_out);
  EXPECT_EQ(ExitCodeOf(allocation), ExitCode::kDevice);
  EXPECT_EQ(allocation.message(), "out of memory");
  EXPECT_TRUE(ran_out);
  const absl::Status length = CatchOutOfMemory([]() -> absl::Status {
    std::vector<int> values;
    values.reserve(values.max_size() + 1);
    return absl::OkStatus();
  });
  EXPECT_EQ(ExitCodeOf(length), ExitCode::kDevice);
}

}  // namespace
}  // namespace sluice
