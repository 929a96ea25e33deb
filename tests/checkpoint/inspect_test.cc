#include "checkpoint/inspect.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "nlohmann/json.hpp"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::MakeSampleCheckpoint;
using testing::SampleCheckpoint;
using testing::TemporaryFolder;

class InspectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteCheckpoint(folder_.path(), sample_.Contents()).ok());
    absl::StatusOr<CheckpointSummary> summary = InspectCheckpoint(written_);
    ASSERT_TRUE(summary.ok()) << summary.status();
    summary_ = *std::move(summary);
  }

  TemporaryFolder folder_;
  const std::string written_ = folder_.path() + "/step_00001000";
  SampleCheckpoint sample_ = MakeSampleCheckpoint();
  CheckpointSummary summary_;
};

TEST_F(InspectTest, CountsAndNormsAreThoseOfTheTensors) {
  EXPECT_EQ(summary_.parameter_count, 23100 + 15 + 7);
  EXPECT_EQ(summary_.optimizer_tensors, 6);
  EXPECT_EQ(summary_.state, sample_.contents.state);
  double all_squares = 0;
  for (size_t i = 0; i < sample_.model.size(); ++i) {
    double squares = 0, sum = 0, largest = 0;
    for (const float value : sample_.model[i].values) {
      squares += static_cast<double>(value) * value;
      sum += value;
      largest = std::max(largest, std::abs(static_cast<double>(value)));
    }
    all_squares += squares;
    EXPECT_EQ(summary_.model[i].name, sample_.model[i].name) << "in the order written";
    EXPECT_NEAR(summary_.model[i].l2_norm, std::sqrt(squares), 1e-12 * std::sqrt(squares));
    EXPECT_NEAR(summary_.model[i].mean, sum / static_cast<double>(sample_.model[i].values.size()),
                1e-12);
    EXPECT_EQ(summary_.model[i].largest_absolute, largest);
  }
  EXPECT_NEAR(summary_.parameter_norm, std::sqrt(all_squares), 1e-12 * std::sqrt(all_squares));
}

TEST_F(InspectTest, TextFitsATerminal) {
  const std::string text = InspectText(summary_);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(line, "checkpoint ")) continue;  // the folder's own length
    EXPECT_LE(line.size(), 100u) << line;
  }
  for (const char* part : {"step            1000\n", "next sample 256000, epoch 3\n",
                           "seed            18446744073709551615", "model.hidden_size: 33",
                           "model.no_decay: [bias, gate]", "bert.embeddings.word_embeddings.weight",
                           "(700, 33)", "23122 parameters in 3 tensors", "2 layers of 3 heads",
                           "best metric     12.3457 at step 500"}) {
    EXPECT_TRUE(absl::StrContains(text, part)) << part << " in\n" << text;
  }
}

TEST_F(InspectTest, JsonHasTheSame) {
  const nlohmann::json json = nlohmann::json::parse(InspectJson(summary_));
  EXPECT_EQ(json["state"]["step"], 1000);
  EXPECT_EQ(json["state"]["seed"], 0xFFFFFFFFFFFFFFFFu);
  EXPECT_EQ(json["config"]["model.hidden_size"], "33");
  EXPECT_EQ(json["parameter_count"], 23122);
  EXPECT_EQ(json["tensors"][0]["shape"], (std::vector<int64_t>{700, 33}));
  EXPECT_EQ(json["gates"]["heads"], 3);
}

TEST_F(InspectTest, ADamagedFileIsNamed) {
  testing::SetFileBytes(written_ + "/" + kConfigFile, "model: [\n");
  const absl::Status status = InspectCheckpoint(written_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_TRUE(absl::StrContains(status.message(), "config.yaml")) << status;
}

}  // namespace
}  // namespace sluice
