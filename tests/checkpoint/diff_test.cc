#include "checkpoint/diff.h"

#include "absl/strings/match.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "nlohmann/json.hpp"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::MakeSampleCheckpoint;
using testing::SampleCheckpoint;
using testing::TemporaryFolder;

class DiffTest : public ::testing::Test {
 protected:
  CheckpointDiff Diff() {
    EXPECT_TRUE(WriteCheckpoint(folder_.path() + "/a", a_.Contents()).ok());
    EXPECT_TRUE(WriteCheckpoint(folder_.path() + "/b", b_.Contents()).ok());
    absl::StatusOr<CheckpointDiff> diff = DiffCheckpoints(FolderOf("a", a_), FolderOf("b", b_));
    EXPECT_TRUE(diff.ok()) << diff.status();
    // Text and JSON always agree with the verdict.
    EXPECT_EQ(nlohmann::json::parse(DiffJson(*diff))["equal"], diff->equal());
    EXPECT_TRUE(absl::EndsWith(DiffText(*diff), diff->equal() ? "\nequal\n" : "\ndifferent\n"));
    return *std::move(diff);
  }
  std::string FolderOf(const std::string& name, const SampleCheckpoint& sample) {
    return absl::StrCat(folder_.path(), "/", name, "/step_0000", sample.contents.state.step);
  }
  // The names of sections that differ.
  static std::vector<std::string> Differing(const CheckpointDiff& diff) {
    std::vector<std::string> names;
    for (const DiffSection& section : diff.sections) {
      if (!section.equal()) names.push_back(section.name);
    }
    return names;
  }
  static const DiffSection& Section(const CheckpointDiff& diff, const std::string& name) {
    for (const DiffSection& section : diff.sections) {
      if (section.name == name) return section;
    }
    ADD_FAILURE() << "no section " << name;
    return diff.sections[0];
  }

  TemporaryFolder folder_;
  SampleCheckpoint a_ = MakeSampleCheckpoint();
  SampleCheckpoint b_ = MakeSampleCheckpoint();
};

TEST_F(DiffTest, EqualCheckpointsAreEqual) {
  b_.contents.state.world_size = 8;  // who wrote it is no difference
  const CheckpointDiff diff = Diff();
  EXPECT_TRUE(diff.equal());
  EXPECT_EQ(Differing(diff), std::vector<std::string>{});
  EXPECT_EQ(Section(diff, "model").compared, 3);
  EXPECT_EQ(Section(diff, "optimizer").compared, 6);
  EXPECT_EQ(Section(diff, "gates").compared, 12);
  ASSERT_EQ(diff.notes.size(), 1u);
  EXPECT_EQ(diff.notes[0].what, "2 vs. 8");
}

TEST_F(DiffTest, OneBitInOneTensor) {
  b_.model[2].values[3] = 0.0f;  // was -0
  b_.model[0].values[17] += 0.5f;
  b_.model[0].values[18] -= 0.25f;
  const CheckpointDiff diff = Diff();
  EXPECT_FALSE(diff.equal());
  EXPECT_EQ(Differing(diff), std::vector<std::string>{"model"});
  const auto& differences = Section(diff, "model").differences;
  ASSERT_EQ(differences.size(), 2u);
  EXPECT_EQ(differences[0].name, "bert.embeddings.word_embeddings.weight");
  EXPECT_EQ(differences[0].differing_elements, 2);
  EXPECT_EQ(differences[0].elements, 23100);
  EXPECT_NEAR(differences[0].largest_difference, 0.5, 1e-7);
  EXPECT_EQ(differences[1].name, "a.bias");
  EXPECT_EQ(differences[1].differing_elements, 1);
  EXPECT_EQ(differences[1].largest_difference, 0.0);
  EXPECT_TRUE(
      absl::StrContains(DiffText(diff), "    a.bias: values differ in 1 of 7, at most by 0\n"));
}

TEST_F(DiffTest, NamesAndShapes) {
  b_.model[1].dims = {5, 3};
  b_.model[2].name = "b.bias";
  const CheckpointDiff diff = Diff();
  const auto& differences = Section(diff, "model").differences;
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].what, "shape (3, 5) vs. (5, 3)");
  EXPECT_EQ(differences[1].name + " " + differences[1].what, "a.bias only in A");
  EXPECT_EQ(differences[2].name + " " + differences[2].what, "b.bias only in B");
  EXPECT_FALSE(diff.equal());
}

TEST_F(DiffTest, MomentsGatesAndState) {
  b_.optimizer[5].values[0] *= 2;
  b_.contents.gates.cells[4].histogram[63] += 1;
  b_.contents.state.step = 2000;
  b_.contents.state.next_sample += 1;
  b_.contents.state.counters.erase("tokens_seen");
  const CheckpointDiff diff = Diff();
  EXPECT_EQ(Differing(diff), (std::vector<std::string>{"optimizer", "gates", "state"}));
  EXPECT_EQ(Section(diff, "gates").differences[0].name, "histogram");
  const auto& state = Section(diff, "state").differences;
  ASSERT_EQ(state.size(), 3u);
  EXPECT_EQ(state[0].name, "counters.tokens_seen");
  EXPECT_EQ(state[1].name + " " + state[1].what, "next_sample 256000 vs. 256001");
  EXPECT_EQ(state[2].name + " " + state[2].what, "step 1000 vs. 2000");
}

TEST_F(DiffTest, GatesOnOneSideOnly) {
  b_.contents.gates = {};
  const CheckpointDiff one_side = Diff();
  EXPECT_EQ(Section(one_side, "gates").differences[0].what, "only in A");
  EXPECT_FALSE(one_side.equal());
  a_.contents.gates = {};
  EXPECT_TRUE(Diff().equal());
}

TEST_F(DiffTest, ConfigIsShownAndDoesNotCount) {
  b_.contents.config_yaml = "name: toy\nmodel:\n  hidden_size: 34\n";
  const CheckpointDiff diff = Diff();
  EXPECT_TRUE(diff.equal());
  EXPECT_EQ(Differing(diff), std::vector<std::string>{"config"});
  EXPECT_TRUE(absl::StrContains(DiffText(diff), "hidden_size: 34: only in B"));
}

TEST_F(DiffTest, AFolderThatIsNoneIsAnError) {
  Diff();
  const absl::Status status =
      DiffCheckpoints(FolderOf("a", a_), folder_.path() + "/nowhere").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
}

}  // namespace
}  // namespace sluice
