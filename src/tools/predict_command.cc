#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data_tools/text/tokenizer.h"
#include "nlohmann/json.hpp"
#include "tools/commands.h"
#include "train/compute_threads.h"
#include "train/load_model.h"

namespace sluice {
namespace {

struct PredictArguments {
  std::string checkpoint, text;
  int64_t top = 5;
  bool json = false;
};

struct Candidate {
  int32_t id;
  double probability;
};

// The `top` most probable ids of one row of logits, softmax over the tokenizer's vocabulary; ties
// by id.
std::vector<Candidate> MostProbable(const float* logits, int64_t vocabulary, int64_t top) {
  const float largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t v = 0; v < vocabulary; ++v)
    sum += std::exp(static_cast<double>(logits[v]) - largest);
  std::vector<int32_t> order(vocabulary);
  std::iota(order.begin(), order.end(), 0);
  const int64_t count = std::min(top, vocabulary);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<Candidate> candidates;
  for (int64_t i = 0; i < count; ++i) {
    candidates.push_back(
        {order[i], std::exp(static_cast<double>(logits[order[i]]) - largest) / sum});
  }
  return candidates;
}

absl::StatusOr<std::vector<int32_t>> TextToIds(const Tokenizer& tokenizer, const std::string& text,
                                               const RunConfig& config) {
  std::vector<int32_t> ids = tokenizer.Row(text);
  if (std::ssize(ids) > config.model.max_position_embeddings) {
    return UsageError("the text is too long for the model", "",
                      absl::StrCat(ids.size(), " tokens > ", config.model.max_position_embeddings));
  }
  for (int32_t id : ids) {
    if (id >= config.model.vocab_size) {
      return CheckpointError("the checkpoint's vocabulary is larger than its model", "",
                             absl::StrCat("id ", id, " >= ", config.model.vocab_size));
    }
  }
  return ids;
}

void Print(const Tokenizer& tokenizer, const std::vector<Candidate>& candidates, int32_t position,
           bool json) {
  if (json) {
    nlohmann::ordered_json report = {{"position", position}};
    for (const Candidate& candidate : candidates) {
      report["candidates"].push_back({{"token", std::string(tokenizer.TokenText(candidate.id))},
                                      {"id", candidate.id},
                                      {"probability", candidate.probability}});
    }
    std::printf("%s\n", report.dump().c_str());
    return;
  }
  std::printf("[MASK] at token %d:\n", position);
  for (const Candidate& candidate : candidates) {
    std::printf("  %6.2f %%  %s\n", 100 * candidate.probability,
                std::string(tokenizer.TokenText(candidate.id)).c_str());
  }
}

absl::Status RunPredict(const PredictArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1)
    return UsageError("predict runs on one rank: start it without mpirun");
  ASSIGN_OR_RETURN(const int threads, ChooseComputeThreads(communicator, 0));
  SetComputeThreads(threads);
  ASSIGN_OR_RETURN(const std::string folder, ResolveCheckpoint(arguments.checkpoint));
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadTokenizer({.path = folder}));
  ASSIGN_OR_RETURN(LoadedModel model,
                   LoadModel(folder, {.max_batch = 1, .length = LoadModelOptions::kLongest}));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                   TextToIds(*tokenizer, arguments.text, model.config));

  Batch batch;
  batch.B = 1;
  batch.T = std::ssize(ids);
  batch.tokens = ids;
  std::vector<int32_t> masked;
  for (int32_t t = 0; t < batch.T; ++t) {
    if (ids[t] == tokenizer->special().mask) masked.push_back(t);
  }
  if (masked.empty()) return UsageError("the text has no [MASK] to fill in", arguments.text);
  const int64_t vocabulary =
      std::min<int64_t>(tokenizer->vocabulary_size(), model.config.model.vocab_size);
  for (int32_t position : masked) {
    ASSIGN_OR_RETURN(const TensorView logits,
                     model.engine->model().Predict(model.engine->context(), batch, {position}));
    Print(*tokenizer, MostProbable(logits.as<float>(), vocabulary, arguments.top), position,
          arguments.json);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command =
      program.add_subcommand("predict", "Fill in the [MASK]s of a text with a trained BERT.");
  auto arguments = std::make_shared<PredictArguments>();
  command
      ->add_option("checkpoint", arguments->checkpoint,
                   "A checkpoint, or a run folder (its newest)")
      ->required();
  command->add_option("text", arguments->text, "Text with at least one [MASK]")->required();
  command->add_option("--top", arguments->top, "Candidates for each [MASK]")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object for each [MASK]");
  command->footer("Example: sluice predict runs/bert_vga \"The capital of France is [MASK].\"");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunPredict(*arguments, communicator);
    };
  });
}

}  // namespace sluice
