// What the engine computes, for programs that compare it with others' models:
//
//   oracle_step batches DATA OUT --rows B --length T --count S --probability P [--causal]
//           [--documents] [--training-seed SEED] [--first F]
//       S batches of the data set's own rows, masked or causal: tokens, labels (S, B, T) int64; a
//       label is the id asked for at its position, or -100. With --documents attention stays within
//       a document: also their numbers, documents (S, B, T). From sample F on, in the order and
//       with the masks of a training run with the seed, or else of an evaluation
//   oracle_step training-batches CONFIG OUT --first F --rows B --count S [--validation]
//       S batches of B samples from sample F on, as a run of that configuration trains on them, or
//       of its first validation set: the same tensors
//   oracle_step run CHECKPOINT BATCHES OUT --steps N --learning-rate R
//       from the checkpoint's weights in fp32 without dropout, fresh moments, step i on batch
//       i mod S: losses (N), means over targets, and gradient/NAME of the first step, before
//       clipping; weight/NAME after the last
//
// All files are safetensors.
#include <cstdio>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors.h"
#include "config/load.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/open_batch_source.h"
#include "data/token_shard_source.h"
#include "train/engine.h"
#include "train/resume.h"

namespace sluice {
namespace {

constexpr int64_t kNoTarget = -100;

struct Arguments {
  std::string input, batches, output;
  int64_t rows = 4, length = 64, count = 4, steps = 1, first = 0;
  std::optional<uint64_t> training_seed;
  double probability = 0.15, learning_rate = 1e-3;
  bool causal = false, documents = false, validation = false;
};

absl::Status WriteBatchesOf(BatchSource& source, const Arguments& arguments) {
  std::vector<int64_t> tokens, labels, documents;
  Batch batch;
  for (int64_t i = 0; i < arguments.count; ++i) {
    RETURN_IF_ERROR(source.Fill(arguments.first + i * arguments.rows, arguments.rows, &batch));
    const size_t begin = labels.size();
    tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
    documents.insert(documents.end(), batch.documents.begin(), batch.documents.end());
    labels.resize(begin + batch.tokens.size(), kNoTarget);
    for (size_t m = 0; m < batch.targets.size(); ++m) {
      labels[begin + batch.target_positions[m]] = batch.targets[m];
    }
  }
  const std::vector<int64_t> dims = {arguments.count, arguments.rows, batch.T};
  std::vector<SafetensorsTensor> tensors = {
      SafetensorsTensor::Of("tokens", dims, std::span<const int64_t>(tokens)),
      SafetensorsTensor::Of("labels", dims, std::span<const int64_t>(labels))};
  if (!documents.empty()) {
    tensors.push_back(
        SafetensorsTensor::Of("documents", dims, std::span<const int64_t>(documents)));
  }
  return WriteSafetensors(arguments.output, tensors, {});
}

absl::Status WriteTrainingBatches(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const RunConfig config,
                   LoadRunConfig(arguments.input, {}, ConfigUse::kInspection));
  if (arguments.validation) {
    ASSIGN_OR_RETURN(const auto sources, OpenValidationSources(config));
    return WriteBatchesOf(*sources.at(0), arguments);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<BatchSource> source, OpenTrainingSource(config));
  return WriteBatchesOf(*source, arguments);
}

absl::Status WriteBatches(const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<TokenShardSource> source,
      TokenShardSource::Open(
          arguments.input, {.sequence_length = arguments.length,
                            .attention_across_documents = !arguments.documents,
                            .objective = arguments.causal ? Objective::kCausal : Objective::kMasked,
                            .mlm_probability = arguments.probability,
                            .evaluation = !arguments.training_seed.has_value(),
                            .seed = arguments.training_seed.value_or(0)}));
  return WriteBatchesOf(*source, arguments);
}

absl::StatusOr<std::vector<Batch>> ReadBatches(const std::string& path) {
  ASSIGN_OR_RETURN(const SafetensorsReader file, SafetensorsReader::Open(path));
  const SafetensorsEntry* entry = file.Find("tokens");
  if (entry == nullptr || entry->dims.size() != 3) {
    return CheckpointError("tokens must be (S, B, T)", path);
  }
  const int64_t S = entry->dims[0], B = entry->dims[1], T = entry->dims[2];
  std::vector<int64_t> tokens(S * B * T), labels(S * B * T), documents;
  RETURN_IF_ERROR(file.Read("tokens", std::span<int64_t>(tokens)));
  RETURN_IF_ERROR(file.Read("labels", std::span<int64_t>(labels)));
  if (file.Find("documents") != nullptr) {
    documents.resize(S * B * T);
    RETURN_IF_ERROR(file.Read("documents", std::span<int64_t>(documents)));
  }
  std::vector<Batch> batches(S);
  for (int64_t s = 0; s < S; ++s) {
    Batch& batch = batches[s];
    batch.B = B;
    batch.T = T;
    for (int64_t i = 0; i < B * T; ++i) {
      const int64_t at = s * B * T + i;
      batch.tokens.push_back(static_cast<int32_t>(tokens[at]));
      if (!documents.empty()) batch.documents.push_back(static_cast<int32_t>(documents[at]));
      if (labels[at] != kNoTarget) {
        batch.target_positions.push_back(static_cast<int32_t>(i));
        batch.targets.push_back(static_cast<int32_t>(labels[at]));
      }
    }
    for (int64_t b = 0; b < B; ++b) batch.sample_index.push_back(b);
  }
  return batches;
}

// What is written: owns the values.
class Results {
 public:
  void Add(const std::string& name, const std::vector<int64_t>& dims, std::vector<float> values) {
    values_.push_back({name, dims, std::move(values)});
  }
  void AddAll(const std::string& prefix, const ParameterStore& parameters, const TensorView& flat,
              double scale) {
    for (const Parameter& parameter : parameters.parameters()) {
      std::vector<int64_t> dims;
      for (int axis = 0; axis < parameter.shape.rank(); ++axis)
        dims.push_back(parameter.shape.dim(axis));
      const float* from = flat.as<float>() + parameter.offset;
      std::vector<float> values(from, from + parameter.elements());
      for (float& value : values) value = static_cast<float>(value * scale);
      Add(prefix + parameter.name, dims, std::move(values));
    }
  }
  absl::Status Write(const std::string& path) const {
    std::vector<SafetensorsTensor> tensors;
    for (const Values& tensor : values_) {
      tensors.push_back(
          SafetensorsTensor::Of(tensor.name, tensor.dims, std::span<const float>(tensor.values)));
    }
    return WriteSafetensors(path, tensors, {});
  }

 private:
  struct Values {
    std::string name;
    std::vector<int64_t> dims;
    std::vector<float> values;
  };
  std::vector<Values> values_;
};

absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const std::string& checkpoint,
                                                   const Batch& batch) {
  ASSIGN_OR_RETURN(const RunConfig config, LoadRunConfig(checkpoint + "/config.yaml",
                                                         {"model.hidden_dropout_prob=0",
                                                          "model.attention_probs_dropout_prob=0"},
                                                         ConfigUse::kInspection));
  ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Create(config, {.dtype = DType::kFloat32,
                                                                           .max_batch = batch.B,
                                                                           .length = batch.T,
                                                                           .train = true}));
  RETURN_IF_ERROR(engine->Allocate());
  RETURN_IF_ERROR(LoadWeights(checkpoint, *engine));
  return engine;
}

absl::Status RunSteps(const Arguments& arguments) {
  SetComputeThreads(1);
  ASSIGN_OR_RETURN(const std::vector<Batch> batches, ReadBatches(arguments.batches));
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   LoadEngine(arguments.input, batches.front()));
  const ParameterStore& parameters = engine->parameters();
  Results results;
  std::vector<float> losses;
  for (int64_t step = 0; step < arguments.steps; ++step) {
    const Batch& batch = batches[step % std::ssize(batches)];
    ModelLosses sums;
    RETURN_IF_ERROR(engine->ForwardBackward(batch, {.train = true}, sums));
    const double scale = 1 / static_cast<double>(sums.language_model.targets);
    losses.push_back(static_cast<float>(sums.language_model.loss * scale));
    if (step == 0) results.AddAll("gradient/", parameters, parameters.flat_gradient(), scale);
    RETURN_IF_ERROR(engine->ClipAndUpdate(arguments.learning_rate, scale).status());
  }
  results.AddAll("weight/", parameters, parameters.flat_master(), 1);
  results.Add("losses", {arguments.steps}, std::move(losses));
  return results.Write(arguments.output);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App program("What the engine computes, for comparisons", "oracle_step");
  program.require_subcommand(1);
  CLI::App* batches = program.add_subcommand("batches", "Write a data set's masked batches");
  batches->add_option("data", arguments.input, "Manifest or its folder")->required();
  batches->add_option("out", arguments.output)->required();
  batches->add_option("--rows", arguments.rows);
  batches->add_option("--length", arguments.length);
  batches->add_option("--count", arguments.count);
  batches->add_option("--probability", arguments.probability);
  batches->add_flag("--causal", arguments.causal);
  batches->add_flag("--documents", arguments.documents);
  batches->add_option("--training-seed", arguments.training_seed);
  batches->add_option("--first", arguments.first);
  CLI::App* training =
      program.add_subcommand("training-batches", "Write batches that a run trains on");
  training->add_option("config", arguments.input)->required();
  training->add_option("out", arguments.output)->required();
  training->add_option("--first", arguments.first);
  training->add_option("--rows", arguments.rows);
  training->add_option("--count", arguments.count);
  training->add_flag("--validation", arguments.validation);
  CLI::App* run = program.add_subcommand("run", "Train on batches");
  run->add_option("checkpoint", arguments.input)->required();
  run->add_option("batches", arguments.batches)->required();
  run->add_option("out", arguments.output)->required();
  run->add_option("--steps", arguments.steps);
  run->add_option("--learning-rate", arguments.learning_rate);
  CLI11_PARSE(program, argc, argv);
  const absl::Status status = *batches    ? WriteBatches(arguments)
                              : *training ? WriteTrainingBatches(arguments)
                                          : RunSteps(arguments);
  if (status.ok()) return 0;
  std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::Main(argc, argv); }
