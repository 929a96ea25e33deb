#include "train/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {

// What ranks add up; behind it, the mean loss of each batch. All doubles: counts below 2^53 are
// exact.
enum Sum { kWeightedLoss, kWeight, kLoss, kTargets, kCorrect, kSequences, kSums };

struct Share {
  int64_t rank, world_size;
  int64_t batch_size, batches;  // of all ranks together
};

absl::Status EvaluateOwnBatches(Engine& engine, BatchSource& source, const Share& share,
                                Observer* observer, std::span<double> sums) {
  const int64_t sequences = source.sequences_per_epoch();
  Batch batch;
  for (int64_t b = share.rank; b < share.batches; b += share.world_size) {
    const int64_t first = b * share.batch_size;
    const int64_t count = std::min(share.batch_size, sequences - first);
    RETURN_IF_ERROR(source.Fill(first, count, &batch));
    ModelLosses losses;
    RETURN_IF_ERROR(engine.Evaluate(batch, losses, observer));
    const LossSums& lm = losses.language_model;
    sums[kSequences] += static_cast<double>(count);
    if (lm.targets == 0) continue;
    sums[kWeightedLoss] += static_cast<double>(count) * lm.loss / static_cast<double>(lm.targets);
    sums[kWeight] += static_cast<double>(count);
    sums[kLoss] += lm.loss;
    sums[kTargets] += static_cast<double>(lm.targets);
    sums[kCorrect] += static_cast<double>(lm.correct);
    sums[kSums + b] = lm.loss / static_cast<double>(lm.targets);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<EvaluationResult> Evaluate(Engine& engine, BatchSource& source,
                                          Communicator& communicator, int64_t batch_size,
                                          int64_t batches, Observer* observer) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t all = CeilDiv(source.sequences_per_epoch(), batch_size);
  const int64_t asked = batches == 0 ? all : std::min(batches, all);
  std::vector<double> sums(kSums + asked);
  RETURN_IF_ERROR(communicator.Agree(EvaluateOwnBatches(
      engine, source, {communicator.rank(), communicator.world_size(), batch_size, asked}, observer,
      sums)));
  RETURN_IF_ERROR(communicator.AllReduceSum(std::span<double>(sums)));
  if (sums[kTargets] == 0) return DataError("no target to evaluate", source.name());
  EvaluationResult result{.perplexity = std::exp(sums[kWeightedLoss] / sums[kWeight]),
                          .loss = sums[kLoss] / sums[kTargets],
                          .accuracy = sums[kCorrect] / sums[kTargets],
                          .sequences = static_cast<int64_t>(sums[kSequences]),
                          .targets = static_cast<int64_t>(sums[kTargets]),
                          .batch_size = batch_size,
                          .batch_losses = {sums.begin() + kSums, sums.end()}};
  if (!std::isfinite(result.loss)) {
    return DivergedError("the evaluation loss is not finite", source.name(),
                         absl::StrCat(result.loss));
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace sluice
