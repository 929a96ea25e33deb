#include "checkpoint/state_file.h"

#include "absl/strings/str_replace.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/yaml_fields.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using checkpoint_internal::StateFromYaml;
using checkpoint_internal::StateToYaml;

TEST(StateFileTest, RoundTripKeepsEveryBit) {
  const CheckpointState state = testing::MakeSampleCheckpoint().contents.state;
  const absl::StatusOr<CheckpointState> read = StateFromYaml(StateToYaml(state), "state.yaml");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, state);
  CheckpointState imported = state;
  imported.imported_from = "hugging_face";
  EXPECT_EQ(StateFromYaml(StateToYaml(imported), "state.yaml").value(), imported);
  EXPECT_NE(imported, state);
  const CheckpointState fresh;
  EXPECT_EQ(StateFromYaml(StateToYaml(fresh), "state.yaml").value(), fresh);
}

TEST(StateFileTest, SaysWhatIsWrong) {
  const std::string good = StateToYaml(testing::MakeSampleCheckpoint().contents.state);
  const auto message = [&](const char* from, const char* to) {
    const std::string bad = absl::StrReplaceAll(good, {{from, to}});
    EXPECT_NE(bad, good) << from;
    const absl::Status status = StateFromYaml(bad, "s").status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
    return std::string(status.message());
  };
  EXPECT_EQ(message("format_version: 1", "format_version: 2"),
            "unknown format version: s: 2, this program reads 1");
  EXPECT_EQ(message("\nstep: 1000", ""), "a key is missing: s: step");
  EXPECT_EQ(message("\nstep: 1000", "\nstep: 1e3"), "a value is not an integer: s: step: 1e3");
  EXPECT_EQ(message("\nstep: 1000", "\nstep: [1]"), "a value is not a scalar: s: step");
  EXPECT_EQ(message("\nstep: 1000", "\nstep: 1000\nsteps: 5"), "unknown key: s: steps");
  EXPECT_EQ(message("\nstep: 1000", "\nstep: 1\nstep: 2"), "a key appears twice: s: step");
  EXPECT_EQ(message("epoch: 3", "epoch: -3"),
            "a value is out of range: s: step 1000, next_sample 256000, epoch -3, world_size 2");
  EXPECT_EQ(message("loss_scale: 0.", "loss_scale: x0."),
            "a value is not a number: s: loss_scale: x0.3333333333333333");
  EXPECT_EQ(message("tokens_seen\": ", "tokens_seen\": x"),
            "a value is not an integer: s: counters: tokens_seen: x9007199254740993");
  EXPECT_EQ(StateFromYaml("- 1\n", "s").status().message(), "is not a YAML mapping: s");
  EXPECT_EQ(StateFromYaml("step: [1\n", "s").status().message().substr(0, 13), "is not YAML: ");
  EXPECT_EQ(StateFromYaml("", "s").status().message(), "is not a YAML mapping: s");
}

TEST(StateFileTest, RealsOfAllKinds) {
  using checkpoint_internal::YamlFields;
  for (const double value : {0.0, -0.0, 1.0 / 3, 1e-300, 5e-324, 1.7e308, HUGE_VAL, -HUGE_VAL}) {
    absl::StatusOr<YamlFields> fields =
        YamlFields::Parse("x: " + checkpoint_internal::YamlReal(value), "f");
    ASSERT_TRUE(fields.ok());
    double read = 7;
    ASSERT_TRUE(fields->Read("x", read).ok()) << value;
    EXPECT_EQ(std::signbit(read), std::signbit(value));
    EXPECT_EQ(read, value);
  }
}

TEST(CheckpointFormatTest, FolderNamesAndBack) {
  EXPECT_EQ(CheckpointFolderName(1000), "step_00001000");
  EXPECT_EQ(CheckpointFolderName(1234567890), "step_1234567890");
  for (const int64_t step : {0, 7, 1000, 1234567890}) {
    EXPECT_EQ(StepOfFolderName(CheckpointFolderName(step)), step);
  }
  for (const char* name : {"step_1000", "step_", "step_0000100x", "step_-0001000", "best.yaml",
                           ".step_00001000.tmp-host-1", "xstep_00001000", "step_00001000 "}) {
    EXPECT_EQ(StepOfFolderName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace sluice
