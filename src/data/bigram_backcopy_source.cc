#include "data/bigram_backcopy_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// Fixed, so that different runs are asked the same; its instance of the key is its own too, so that
// a training with this very seed sees none of it.
constexpr uint64_t kEvaluationSeed = 1000;
constexpr uint32_t kTrainingInstance = 0;
constexpr uint32_t kEvaluationInstance = 1;

PhiloxKey KeyOf(const BigramBackcopySettings& settings) {
  return settings.evaluation_sequences > 0
             ? MakePhiloxKey(kEvaluationSeed, RandomPurpose::kGeneratedData, kEvaluationInstance)
             : MakePhiloxKey(settings.seed, RandomPurpose::kGeneratedData, kTrainingInstance);
}

}  // namespace

absl::StatusOr<std::unique_ptr<BigramBackcopySource>> BigramBackcopySource::Create(
    const BigramBackcopySettings& settings) {
  if (settings.sequence_length < 2 || settings.sequence_length >= INT32_MAX) {
    return UsageError("data.sequence_length is out of range", "",
                      absl::StrCat(settings.sequence_length));
  }
  if (settings.evaluation_sequences < 0) {
    return UsageError("data.validation_sequences is negative", "",
                      absl::StrCat(settings.evaluation_sequences));
  }
  ASSIGN_OR_RETURN(BigramBackcopy task, BigramBackcopy::Open(settings.table, settings.triggers));
  return std::unique_ptr<BigramBackcopySource>(new BigramBackcopySource(settings, std::move(task)));
}

BigramBackcopySource::BigramBackcopySource(const BigramBackcopySettings& settings,
                                           BigramBackcopy task)
    : settings_(settings),
      task_(std::move(task)),
      tokenizer_(
          {.kind = name_, .vocabulary_size = task_.vocabulary_size(), .vocabulary_sha256 = ""}),
      key_(KeyOf(settings)),
      tokens_(static_cast<size_t>(settings.sequence_length + 1)) {}

int64_t BigramBackcopySource::memory_bytes() const {
  return static_cast<int64_t>(tokens_.size() * sizeof(int32_t)) + task_.memory_bytes();
}

std::string BigramBackcopySource::Summary() const {
  const std::string what = absl::StrCat(
      " generated Bigram-Backcopy sequences of ", settings_.sequence_length, " tokens",
      settings_.table == "synthetic" ? "" : " by the characters of " + settings_.table);
  return settings_.evaluation_sequences > 0
             ? absl::StrCat(settings_.evaluation_sequences, what, ", always the same")
             : absl::StrCat("endless", what);
}

absl::Status BigramBackcopySource::Fill(int64_t first_sample, int64_t count, Batch* batch) {
  const int64_t T = settings_.sequence_length;
  CHECK(first_sample >= 0 && count >= 1 && count <= INT32_MAX / T)
      << "samples " << first_sample << " + " << count;
  CHECK(settings_.evaluation_sequences == 0 ||
        first_sample <= settings_.evaluation_sequences - count)
      << "samples " << first_sample << " + " << count << " of " << settings_.evaluation_sequences;
  const auto size = static_cast<size_t>(count * T);
  batch->B = count;
  batch->T = T;
  batch->segments.clear();
  batch->lengths.clear();
  batch->documents.clear();
  batch->next_sentence_labels.clear();
  batch->tokens.resize(size);
  batch->targets.resize(size);
  batch->target_positions.resize(size);
  batch->sample_index.resize(static_cast<size_t>(count));
  for (int64_t b = 0; b < count; ++b) {
    task_.Generate(key_, first_sample + b, tokens_);
    std::copy_n(tokens_.begin(), T, batch->tokens.begin() + b * T);
    std::copy_n(tokens_.begin() + 1, T, batch->targets.begin() + b * T);
    batch->sample_index[static_cast<size_t>(b)] = first_sample + b;
  }
  for (size_t i = 0; i < size; ++i) batch->target_positions[i] = static_cast<int32_t>(i);
  return absl::OkStatus();
}

}  // namespace sluice
