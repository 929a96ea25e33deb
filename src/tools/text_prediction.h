// What `sluice predict` does with a text: a masked model fills in its [MASK]s, a causal one goes on
// with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data_tools/text/tokenizer.h"
#include "train/load_model.h"

namespace sluice {

struct TokenProbability {
  int32_t id;
  double probability;  // the model's, over the tokenizer's vocabulary
};

// The `count` most probable ids of one row of logits, the most probable first; ties by id.
std::vector<TokenProbability> MostProbable(const float* logits, int64_t vocabulary, int64_t count);

// UsageError for more ids than the model has positions, CheckpointError for an id that it lacks.
absl::Status CheckIds(const std::vector<int32_t>& ids, const RunConfig& config);

struct MaskCandidates {
  int32_t position;  // in the row, [CLS] included
  std::vector<TokenProbability> candidates;
};
// One a [MASK] of the text. UsageError when it has none.
absl::StatusOr<std::vector<MaskCandidates>> FillMasks(LoadedModel& model,
                                                      const Tokenizer& tokenizer,
                                                      const std::string& text, int64_t top);

struct ContinuationOptions {
  int64_t tokens = 32;     // at most
  double temperature = 0;  // logits are divided by it; 0: always the most probable token
  int64_t top_k = 0;       // drawn from that many of the most probable; 0: from all
  uint64_t seed = 1000;    // token n is a function of it, n and the text before
};
struct Continuation {
  std::vector<int32_t> prompt;           // the tokenizer's bos, then the text
  std::vector<TokenProbability> tokens;  // eos, where it was drawn, included
  std::string text;                      // of the tokens, without eos
  std::string stopped;                   // tokens, eos, or positions: the model has no more
};
// Computes the whole row anew for every token. UsageError for a text with [MASK], and for one that
// fills more than the model's positions.
absl::StatusOr<Continuation> ContinueText(LoadedModel& model, const Tokenizer& tokenizer,
                                          const std::string& text,
                                          const ContinuationOptions& options);

}  // namespace sluice
