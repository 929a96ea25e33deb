#include "absl/strings/str_cat.h"
#include "checkpoint/array_file.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/gate_file.h"
#include "checkpoint/reader.h"
#include "checkpoint/verify.h"
#include "checkpoint/writer.h"
#include "core/error.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using testing::FileBytes;
using testing::MakeSampleCheckpoint;
using testing::PoisonedBuffer;
using testing::SampleCheckpoint;
using testing::TemporaryFolder;

class RoundTripTest : public ::testing::Test {
 protected:
  void SetUp() override {
    vocabulary_ = folder_.path() + "/vocab.txt";
    testing::SetFileBytes(vocabulary_, "[PAD]\n[CLS]\n");
    sample_.contents.files = {vocabulary_};
    const absl::Status status = WriteCheckpoint(checkpoints_, sample_.Contents());
    ASSERT_TRUE(status.ok()) << status;
  }

  TemporaryFolder folder_;
  const std::string checkpoints_ = folder_.path() + "/run/checkpoints";
  const std::string written_ = checkpoints_ + "/step_00001000";
  std::string vocabulary_;
  SampleCheckpoint sample_ = MakeSampleCheckpoint();
};

// Destinations of the sample's own names and shapes, poisoned.
struct Destinations {
  explicit Destinations(const std::vector<SampleCheckpoint::Tensor>& tensors) {
    buffers.reserve(tensors.size());
    for (const SampleCheckpoint::Tensor& tensor : tensors) {
      PoisonedBuffer<float>& buffer = buffers.emplace_back(tensor.values.size());
      list.push_back(
          {tensor.name, testing::MakeShape(tensor.dims), {buffer.data(), tensor.values.size()}});
    }
  }
  bool Untouched() const {
    for (const PoisonedBuffer<float>& buffer : buffers) {
      for (const float value : buffer.values()) {
        if (!std::isnan(value)) return false;
      }
    }
    return true;
  }
  std::vector<PoisonedBuffer<float>> buffers;
  std::vector<TensorDestination> list;
};

TEST_F(RoundTripTest, GivesBackTheSameBits) {
  ASSERT_TRUE(VerifyCheckpoint(written_).ok());
  Destinations model(sample_.model), optimizer(sample_.optimizer);
  ASSERT_TRUE(ReadCheckpointModel(written_, model.list).ok());
  ASSERT_TRUE(ReadCheckpointOptimizer(written_, optimizer.list).ok());
  for (size_t i = 0; i < sample_.model.size(); ++i) {
    testing::ExpectSameBits<float>(sample_.model[i].name, model.buffers[i].values(),
                                   sample_.model[i].values);
    model.buffers[i].ExpectCanariesIntact();
  }
  for (size_t i = 0; i < sample_.optimizer.size(); ++i) {
    testing::ExpectSameBits<float>(sample_.optimizer[i].name, optimizer.buffers[i].values(),
                                   sample_.optimizer[i].values);
  }
  EXPECT_EQ(ReadCheckpointState(written_).value(), sample_.contents.state);
  EXPECT_EQ(ReadCheckpointConfig(written_).value(), sample_.contents.config_yaml);
  EXPECT_EQ(ReadCheckpointGates(written_).value(), sample_.contents.gates);
  EXPECT_EQ(FileBytes(written_ + "/vocab.txt"), "[PAD]\n[CLS]\n");
}

TEST_F(RoundTripTest, LeavesNothingElseBehind) {
  EXPECT_EQ(testing::NamesIn(checkpoints_), (std::vector<std::string>{"step_00001000"}));
  EXPECT_EQ(testing::NamesIn(written_),
            (std::vector<std::string>{"config.yaml", "gates.h5", "manifest.yaml", "model.h5",
                                      "optimizer.h5", "state.yaml", "vocab.txt"}));
}

TEST_F(RoundTripTest, SameContentsAreTheSameBytes) {
  const std::string again = folder_.path() + "/again";
  ASSERT_TRUE(WriteCheckpoint(again, sample_.Contents()).ok());
  for (const std::string& name : testing::NamesIn(written_)) {
    EXPECT_EQ(FileBytes(absl::StrCat(written_, "/", name)),
              FileBytes(absl::StrCat(again, "/step_00001000/", name)))
        << name;
  }
}

TEST_F(RoundTripTest, WithoutGatesThereIsNoGateFile) {
  sample_.contents.gates = {};
  sample_.contents.state.step = 2000;
  ASSERT_TRUE(WriteCheckpoint(checkpoints_, sample_.Contents()).ok());
  const std::string folder = checkpoints_ + "/step_00002000";
  EXPECT_FALSE(std::filesystem::exists(folder + "/gates.h5"));
  EXPECT_TRUE(ReadCheckpointGates(folder).value().empty());
  EXPECT_TRUE(VerifyCheckpoint(folder).ok());
}

TEST_F(RoundTripTest, AttentionAndStateWithOrWithoutGates) {
  AttentionStatistics& attention = sample_.contents.attention;
  attention = {.layers = 2,
               .heads = 3,
               .looks = 4,
               .sequences = 8,
               .names = {"mass_on_first", "entropy"},
               .values = std::vector<double>(12)};
  for (size_t i = 0; i < 12; ++i) attention.values[i] = 1.0 / static_cast<double>(3 + i);
  sample_.contents.telemetry.counts["counts"] = {1, -2, int64_t{1} << 60};
  sample_.contents.telemetry.sums["sums"] = {1.0 / 3, -0.0};
  for (const int64_t step : {2000, 3000}) {
    if (step == 3000) sample_.contents.gates = {};
    sample_.contents.state.step = step;
    ASSERT_TRUE(WriteCheckpoint(checkpoints_, sample_.Contents()).ok());
    const std::string folder = absl::StrCat(checkpoints_, "/step_0000", step);
    EXPECT_EQ(ReadCheckpointGates(folder).value(), sample_.contents.gates);
    const AttentionStatistics read = ReadCheckpointAttention(folder).value();
    EXPECT_EQ(read.layers, 2);
    EXPECT_EQ(read.heads, 3);
    EXPECT_EQ(read.looks, 4);
    EXPECT_EQ(read.sequences, 8);
    EXPECT_EQ(read.names, attention.names);
    EXPECT_EQ(read.values, attention.values);
    EXPECT_EQ(ReadCheckpointTelemetry(folder).value(), sample_.contents.telemetry);
  }
  EXPECT_TRUE(ReadCheckpointAttention(written_).value().empty());
  EXPECT_TRUE(ReadCheckpointTelemetry(written_).value().empty());
}

// Of before there were entropies.
TEST_F(RoundTripTest, OldGateFilesAreRead) {
  using checkpoint_internal::ReadGateFile;
  const std::string old = folder_.path() + "/old_gates.h5";
  const auto now = ArrayFileReader::Open(written_ + "/gates.h5", kGatesKind);
  ASSERT_TRUE(now.ok());
  auto file = ArrayFileWriter::Create(old, kGatesKind);
  ASSERT_TRUE(file.ok());
  for (const ArrayEntry& entry : now->entries()) {
    if (entry.name == "entropy") continue;
    const auto elements = static_cast<size_t>(entry.elements());
    if (entry.type == ArrayEntry::Type::kText) {
      ASSERT_TRUE(file->WriteTexts(entry.name, now->ReadTexts(entry.name).value()).ok());
    } else if (entry.type == ArrayEntry::Type::kInt64) {
      std::vector<int64_t> values(elements);
      ASSERT_TRUE(now->Read(entry.name, std::span(values)).ok());
      ASSERT_TRUE(file->Write(entry.name, entry.dims, std::span<const int64_t>(values)).ok());
    } else {
      std::vector<double> values(elements);
      ASSERT_TRUE(now->Read(entry.name, std::span(values)).ok());
      ASSERT_TRUE(file->Write(entry.name, entry.dims, std::span<const double>(values)).ok());
    }
  }
  ASSERT_TRUE(file->Close().ok());
  const auto read = ReadGateFile(old);
  ASSERT_TRUE(read.ok()) << read.status();
  GateStatistics gates = read->gates;
  for (GateCell& cell : gates.cells) {
    EXPECT_TRUE(std::isnan(cell.entropy));
    cell.entropy = 0;
  }
  GateStatistics expected = sample_.contents.gates;
  for (GateCell& cell : expected.cells) cell.entropy = 0;
  EXPECT_EQ(gates, expected);
}

TEST_F(RoundTripTest, ACheckpointOfTheSameStepIsReplaced) {
  SampleCheckpoint other = MakeSampleCheckpoint(1000, 77);
  ASSERT_TRUE(WriteCheckpoint(checkpoints_, other.Contents()).ok());
  EXPECT_EQ(testing::NamesIn(checkpoints_), (std::vector<std::string>{"step_00001000"}));
  ASSERT_TRUE(VerifyCheckpoint(written_).ok());
  Destinations model(other.model);
  ASSERT_TRUE(ReadCheckpointModel(written_, model.list).ok());
  testing::ExpectSameBits<float>("new", model.buffers[0].values(), other.model[0].values);
  EXPECT_FALSE(std::filesystem::exists(written_ + "/vocab.txt"));
}

TEST_F(RoundTripTest, ACheckpointThatBelongsToNoRun) {
  const std::string alone = folder_.path() + "/some/name";
  CheckpointContents& contents = sample_.Contents();
  contents.files.clear();
  contents.texts = {{"vocab.txt", "[PAD]\n[CLS]\n"}};
  ASSERT_TRUE(WriteCheckpointAs(alone, contents).ok());
  EXPECT_TRUE(VerifyCheckpoint(alone).ok());
  for (const std::string& name : testing::NamesIn(written_)) {
    EXPECT_EQ(FileBytes(absl::StrCat(alone, "/", name)),
              FileBytes(absl::StrCat(written_, "/", name)))
        << name;
  }
  EXPECT_EQ(testing::NamesIn(alone), testing::NamesIn(written_));
  EXPECT_EQ(ExitCodeOf(WriteCheckpointAs(alone, contents)), ExitCode::kUsage);
  sample_.model[0].values[5] = NAN;
  const std::string diverged = folder_.path() + "/diverged";
  EXPECT_EQ(ExitCodeOf(WriteCheckpointAs(diverged, contents)), ExitCode::kDiverged);
  EXPECT_FALSE(std::filesystem::exists(diverged));
}

TEST_F(RoundTripTest, EveryMismatchIsNamedAndNothingIsWritten) {
  std::vector<SampleCheckpoint::Tensor> wanted = sample_.model;
  wanted[0].dims = {33, 700};
  wanted[1].name = "renamed";
  Destinations model(wanted);
  const absl::Status status = ReadCheckpointModel(written_, model.list);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint);
  EXPECT_EQ(status.message(),
            "does not fit the model: " + written_ +
                "/model.h5: tensor bert.embeddings.word_embeddings.weight has shape (700, 33), "
                "expected (33, 700); missing tensor renamed; unexpected tensor "
                "bert.encoder.layer.0.attention.self.gate.weight");
  EXPECT_TRUE(model.Untouched());
  EXPECT_EQ(ReadCheckpointOptimizer(written_, model.list).message().substr(0, 23),
            "does not fit the model:");
}

TEST_F(RoundTripTest, RefusesValuesThatAreNotFinite) {
  for (const float wrong : {NAN, INFINITY}) {
    for (std::vector<SampleCheckpoint::Tensor>* tensors : {&sample_.model, &sample_.optimizer}) {
      const float good = std::exchange((*tensors)[1].values[2], wrong);
      sample_.contents.state.step = 3000;
      const absl::Status status = WriteCheckpoint(checkpoints_, sample_.Contents());
      EXPECT_EQ(ExitCodeOf(status), ExitCode::kDiverged);
      EXPECT_EQ(status.message(),
                absl::StrCat("refusing to write a checkpoint whose values are not finite: ",
                             (*tensors)[1].name, ": element 2 is ", wrong));
      (*tensors)[1].values[2] = good;
    }
  }
  EXPECT_EQ(testing::NamesIn(checkpoints_), (std::vector<std::string>{"step_00001000"}));
}

}  // namespace
}  // namespace sluice
