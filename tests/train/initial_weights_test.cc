// Runs that start from the weights of a finished model, with gates put in.
#include "train/initial_weights.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "checkpoint/diff.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_folder.h"
#include "comm/single_communicator.h"
#include "core/error.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "train/huggingface_export.h"
#include "train/load_model.h"
#include "training_run.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class InitialWeightsTest : public testing::TrainingRun {
 protected:
  // A vanilla model of a few updates, as a run, and as a folder for transformers.
  void SetUp() override {
    RunConfig config = Config(3);
    config.model.attention.variant = "vanilla";
    ASSERT_TRUE(Train(config, "vanilla", 1).ok());
    ASSERT_TRUE(ExportToHuggingFace({.checkpoint = Run("vanilla"),
                                     .folder = Run("hugging_face"),
                                     .tokenizer = OpenTrainingSource(config).value()->tokenizer()})
                    .ok());
  }

  // Gates that are 1 at the start but for weights too small to be seen.
  RunConfig Tuned(const std::string& from, int64_t steps = 2) const {
    RunConfig config = Config(steps);
    config.model.attention.gate = {.bias = true, .initial_probability = 0.25};
    config.model.attention.gate.scale = "one_at_start";
    config.model.attention.gate.initializer_range = 1e-30;
    config.training.initial_weights = Run(from);
    config.schedule.warmup_steps = 1;
    return config;
  }

  std::unique_ptr<BatchSource> Data() const { return OpenTrainingSource(Config(1)).value(); }

  absl::StatusOr<InitialWeights> Read(RunConfig config, std::unique_ptr<Engine>* engine = nullptr) {
    const auto data = Data();
    if (config.model.vocab_size == 0) config.model.vocab_size = data->vocabulary_size();
    auto made = Engine::Create(config, {.dtype = DType::kFloat32, .max_batch = 4, .length = 16});
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_TRUE((*made)->Allocate().ok());
    ASSIGN_OR_RETURN(const std::string found, FindInitialWeights(config.training.initial_weights));
    auto weights = ReadInitialWeights(found, config, data->tokenizer(), **made);
    if (engine != nullptr) *engine = *std::move(made);
    return weights;
  }

  // The error of starting from `config`.
  std::string Complaint(const RunConfig& config, ExitCode code) {
    const absl::Status status = Read(config).status();
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    return std::string(status.message());
  }

  // Logits at every position of the first rows.
  std::vector<float> Logits(Engine& engine) {
    Batch batch;
    EXPECT_TRUE(Data()->Fill(0, 4, &batch).ok());
    std::vector<int32_t> positions(4 * 16);
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
    const auto logits = engine.Predict(batch, positions);
    EXPECT_TRUE(logits.ok()) << logits.status();
    const TensorView& view = logits->view();
    return {view.as<float>(), view.as<float>() + view.elements()};
  }

  std::vector<float> LogitsOf(const std::string& checkpoint) {
    auto model = LoadModel(checkpoint, {.max_batch = 4, .precision = "fp32"});
    EXPECT_TRUE(model.ok()) << model.status();
    return Logits(*model->engine);
  }

  // Gates of 1 to three roundings, in two layers of some hundred operations on values of order one.
  static void ExpectTheSameModel(const std::vector<float>& actual,
                                 const std::vector<float>& expected) {
    testing::ExpectClose("logits", std::vector<double>(actual.begin(), actual.end()),
                         std::vector<double>(expected.begin(), expected.end()),
                         {.absolute = 300 * testing::UnitRoundoff<float>(),
                          .relative = 300 * testing::UnitRoundoff<float>(),
                          .derivation = "300 roundings of values of order one"});
  }

  static double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      largest = std::max<double>(largest, std::abs(a[i] - b[i]));
    }
    return largest;
  }

  // The exported tensors again, with one left out and one put in.
  void ChangeExport(const std::string& without, const std::string& with) const {
    const std::string folder = Run("hugging_face");
    std::vector<SafetensorsTensor> tensors;
    std::vector<std::vector<float>> values;
    {
      const auto file = SafetensorsFolder::Open(folder);
      ASSERT_TRUE(file.ok()) << file.status();
      values.reserve(file->Names().size() + 1);
      for (const std::string& name : file->Names()) {
        if (name == without) continue;
        int64_t elements = 1;
        for (const int64_t dim : file->Find(name)->dims) elements *= dim;
        values.emplace_back(elements);
        ASSERT_TRUE(file->Read(name, values.back()).ok());
        tensors.push_back(SafetensorsTensor::Of(name, file->Find(name)->dims, values.back()));
      }
    }
    values.emplace_back(2);
    if (!with.empty()) tensors.push_back(SafetensorsTensor::Of(with, {2}, values.back()));
    ASSERT_TRUE(WriteSafetensors(folder + "/model.safetensors", tensors, {{"format", "pt"}}).ok());
  }
};

TEST_F(InitialWeightsTest, GatesOfOneLeaveTheModelAsItWas) {
  const std::vector<float> vanilla = LogitsOf(Run("vanilla"));
  for (const char* from : {"vanilla", "hugging_face"}) {
    for (const char* predictor : {"linear", "mlp", "free_scalar"}) {
      for (const char* site : {"query", "key"}) {
        SCOPED_TRACE(absl::StrCat(from, " ", predictor, " ", site));
        RunConfig config = Tuned(from);
        config.model.attention.gate.site = site;
        config.model.attention.gate.predictor = predictor;
        std::unique_ptr<Engine> engine;
        const auto weights = Read(config, &engine);
        ASSERT_TRUE(weights.ok()) << weights.status();
        ExpectTheSameModel(Logits(*engine), vanilla);
        config.model.attention.gate.scale = "1";  // the control
        ASSERT_TRUE(Read(config, &engine).ok());
        EXPECT_GT(LargestDifference(Logits(*engine), vanilla), 1e-2);
      }
    }
  }
}

TEST_F(InitialWeightsTest, SaysWhatIsDrawn) {
  RunConfig config = Tuned("vanilla");
  config.model.attention.gate.layers = {1};
  config.model.attention.register_tokens = 2;
  const auto weights = Read(config);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const std::string gate = "bert.encoder.layer.1.attention.self.gate.";
  EXPECT_THAT(weights->drawn, UnorderedElementsAre(gate + "weight", gate + "bias",
                                                   "bert.embeddings.register_embeddings.weight"));
  EXPECT_THAT(DescribeInitialWeights(*weights),
              HasSubstr(absl::StrCat(weights->folder, ": ", weights->tensors, " tensors; drawn")));
  EXPECT_EQ(DescribeInitialWeights({.folder = "a", .tensors = 3, .drawn = {}}),
            "weights from a: 3 tensors");
}

// What is drawn is what a new run draws.
TEST_F(InitialWeightsTest, GatesAreDrawnAsInANewRun) {
  RunConfig config = Tuned("vanilla");
  config.model.attention.gate.initializer_range = 0.01;
  std::unique_ptr<Engine> engine;
  ASSERT_TRUE(Read(config, &engine).ok());
  config.model.vocab_size = engine->config().model.vocab_size;
  const auto fresh =
      Engine::Create(config, {.dtype = DType::kFloat32, .max_batch = 4, .length = 16}).value();
  ASSERT_TRUE(fresh->Allocate().ok());
  int same = 0;
  for (size_t p = 0; p < fresh->parameters().parameters().size(); ++p) {
    const TensorView a = fresh->parameters().Master(static_cast<int>(p));
    const TensorView b = engine->parameters().Master(static_cast<int>(p));
    const std::string& name = fresh->parameters().parameters()[p].name;
    if (name.find(".gate.weight") == std::string::npos) continue;
    ++same;
    double squares = 0;
    for (int64_t i = 0; i < a.elements(); ++i) {
      ASSERT_EQ(a.as<float>()[i], b.as<float>()[i]) << name;
      squares += std::pow(a.as<float>()[i], 2);
    }
    const double deviation = std::sqrt(squares / static_cast<double>(a.elements()));
    EXPECT_NEAR(deviation, 0.01, 0.01 * 4 / std::sqrt(2.0 * static_cast<double>(a.elements())));
  }
  EXPECT_EQ(same, 2);
}

// Step, schedule and optimizer begin anew; the first update's learning rate is 0, so its checkpoint
// is the start, and everything that reads it knows the scale.
TEST_F(InitialWeightsTest, ARunBeginsAtStepZeroAndItsCheckpointsKnowTheScale) {
  ASSERT_TRUE(Train(Tuned("vanilla", 1), "tuned", 2).ok());
  const auto state = ReadCheckpointState(Checkpoint("tuned", 1));
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->step, 1);
  EXPECT_EQ(state->next_sample, 12);
  EXPECT_EQ(state->epoch, 0);
  ExpectTheSameModel(LogitsOf(Run("tuned")), LogitsOf(Run("vanilla")));
}

TEST_F(InitialWeightsTest, AStoppedRunGoesOnFromItsOwnCheckpoint) {
  RunConfig half = Tuned("vanilla", 2), whole = Tuned("vanilla", 4);
  half.checkpoint.every = whole.checkpoint.every = 2;  // gates are counted from one to the next
  ASSERT_TRUE(Train(whole, "straight", 1).ok());
  ASSERT_TRUE(Train(half, "resumed", 1).ok());
  std::filesystem::remove_all(Run("vanilla"));  // is not needed any more
  const absl::Status status = Train(whole, "resumed", 1);
  ASSERT_TRUE(status.ok()) << status;
  const auto diff = DiffCheckpoints(Checkpoint("straight", 4), Checkpoint("resumed", 4));
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_TRUE(diff->equal()) << DiffText(*diff);
}

// Else a run would go on that the weights have nothing to do with.
TEST_F(InitialWeightsTest, ARunThatBeganElsewhereDoesNotTakeThem) {
  RunConfig config = Config(2);
  ASSERT_TRUE(Train(config, "run", 1).ok());
  config.training.steps = 4;
  config.training.initial_weights = Run("vanilla");
  const absl::Status status = Train(config, "run", 1);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("training.initial_weights was \"\", is " + Run("vanilla")));
  // One that began there goes on without being told so again.
  ASSERT_TRUE(Train(Tuned("vanilla", 1), "tuned", 1).ok());
  RunConfig untold = Tuned("vanilla", 2);
  untold.training.initial_weights = "";
  EXPECT_TRUE(Train(untold, "tuned", 1).ok());
}

// What a dry run says, which trains nothing.
TEST_F(InitialWeightsTest, ADryRunSaysWhereARunWouldBegin) {
  SingleCommunicator communicator;
  const auto start = [&](const RunConfig& config, const std::string& run,
                         const std::string& resume = "auto") {
    const auto trainer =
        Trainer::Create({.config = config, .run_folder = Run(run), .resume = resume}, communicator);
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return (*trainer)->DescribeStart();
  };
  const auto refused = [&](const RunConfig& config, const std::string& run, ExitCode code,
                           const std::string& complaint) {
    const absl::Status status = start(config, run).status();
    EXPECT_EQ(ExitCodeOf(status), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(complaint));
  };
  EXPECT_EQ(start(Config(3), "new").value(), "start: a new run");
  EXPECT_EQ(start(Tuned("vanilla"), "new").value(),
            absl::StrCat("start: a new run, weights from ", Checkpoint("vanilla", 3)));
  EXPECT_EQ(start(Tuned("hugging_face"), "new").value(),
            absl::StrCat("start: a new run, weights from ", Run("hugging_face")));
  refused(Tuned("nothing"), "new", ExitCode::kCheckpoint, "no such checkpoint");
  RunConfig wide = Tuned("vanilla");
  wide.model.hidden_size = 64;
  refused(wide, "new", ExitCode::kUsage, "model.hidden_size is 32 there, 64 here");
  RunConfig same = Config(3);
  same.model.attention.variant = "vanilla";
  EXPECT_EQ(start(same, "vanilla").value(),
            absl::StrCat("start: goes on from ", Checkpoint("vanilla", 3)));
  EXPECT_EQ(start(same, "vanilla", "none").value(), "start: a new run");
  RunConfig changed = same;
  changed.training.seed += 1;
  refused(changed, "vanilla", ExitCode::kUsage, "training.seed was");
  changed = same;
  changed.training.steps = 2;
  refused(changed, "vanilla", ExitCode::kUsage, "past training.steps");
  EXPECT_FALSE(std::filesystem::exists(Run("new")));
}

TEST_F(InitialWeightsTest, NamesWhatIsMissingAndWhatIsTooMany) {
  ChangeExport("bert.encoder.layer.0.output.dense.weight", "bert.encoder.layer.7.gamma");
  const std::string complaint = Complaint(Tuned("hugging_face"), ExitCode::kCheckpoint);
  EXPECT_THAT(complaint, HasSubstr("missing tensor bert.encoder.layer.0.output.dense.weight"));
  EXPECT_THAT(complaint, HasSubstr("unexpected tensor bert.encoder.layer.7.gamma"));
}

TEST_F(InitialWeightsTest, RefusesWeightsOfAnotherModel) {
  RunConfig wide = Tuned("vanilla");
  wide.model.hidden_size = 64;
  wide.model.num_hidden_layers = 3;
  for (const char* from : {"vanilla", "hugging_face"}) {
    wide.training.initial_weights = Run(from);
    EXPECT_THAT(Complaint(wide, ExitCode::kUsage),
                HasSubstr("the weights to start from are of another model"));
    EXPECT_THAT(Complaint(wide, ExitCode::kUsage),
                HasSubstr("model.hidden_size is 32 there, 64 here; model.num_hidden_layers is 2"));
  }
  RunConfig nowhere = Tuned("nothing");
  EXPECT_THAT(Complaint(nowhere, ExitCode::kCheckpoint), HasSubstr("no such checkpoint"));
}

// Gates that are there already must be of the same kind, and cannot be left out.
TEST_F(InitialWeightsTest, GatesThatAreThereStayWhatTheyAre) {
  ASSERT_TRUE(Train(Tuned("vanilla", 1), "gated", 1).ok());
  RunConfig same = Tuned("gated");
  same.model.attention.gate.initializer_range = 0.5;  // decides nothing
  const auto weights = Read(same);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_TRUE(weights->drawn.empty());
  RunConfig warm = same;
  warm.model.attention.gate.temperature = 2;
  EXPECT_THAT(Complaint(warm, ExitCode::kUsage),
              HasSubstr("model.attention.gate.temperature is 1.0 there, 2.0 here"));
  RunConfig vanilla = same;
  vanilla.model.attention = {};
  EXPECT_THAT(Complaint(vanilla, ExitCode::kUsage),
              HasSubstr("model.attention.variant is gated there, vanilla here"));
}

TEST_F(InitialWeightsTest, RefusesAnotherVocabulary) {
  testing::WriteDataset(folder() + "/other", testing::RandomDocuments(60, 60, 1), 60);
  RunConfig config = Tuned("vanilla");
  config.model.vocab_size = 61;
  const auto data = [&] {
    RunConfig other = config;
    other.data.train = folder() + "/other";
    return OpenTrainingSource(other).value();
  }();
  for (const char* from : {"vanilla", "hugging_face"}) {
    config.training.initial_weights = Run(from);
    const auto engine =
        Engine::Create(config, {.dtype = DType::kFloat32, .max_batch = 4, .length = 16}).value();
    ASSERT_TRUE(engine->Allocate().ok());
    const std::string found = FindInitialWeights(Run(from)).value();
    const absl::Status status =
        ReadInitialWeights(found, config, data->tokenizer(), *engine).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("another vocabulary"));
  }
}

}  // namespace
}  // namespace sluice
