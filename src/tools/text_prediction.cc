#include "tools/text_prediction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "core/philox.h"
#include "core/status.h"

namespace sluice {
namespace {

Batch OneRow(const std::vector<int32_t>& ids) {
  Batch batch;
  batch.B = 1;
  batch.T = std::ssize(ids);
  batch.tokens = ids;
  return batch;
}

// Ids that the tokenizer has a text for: a model's table may be larger.
int64_t Vocabulary(const LoadedModel& model, const Tokenizer& tokenizer) {
  return std::min<int64_t>(tokenizer.vocabulary_size(), model.config.model.vocab_size);
}

// Token n of a continuation: inverts the distribution function of the `top_k` most probable ids, in
// their order, at a number that (seed, n) alone decide.
TokenProbability Draw(const std::vector<TokenProbability>& candidates, int64_t n,
                      const ContinuationOptions& options) {
  if (options.temperature == 0) return candidates.front();
  // p^(1/temperature) relative to the largest, so that nothing overflows.
  std::vector<double> weights;
  double sum = 0;
  for (const TokenProbability& candidate : candidates) {
    const double relative = candidate.probability / candidates.front().probability;
    weights.push_back(std::pow(relative, 1 / options.temperature));
    sum += weights.back();
  }
  const PhiloxKey key = MakePhiloxKey(options.seed, RandomPurpose::kSampling, 0);
  const double uniform = UniformFromWord(Philox(key, PhiloxCounter(n, 0))[0]);
  double below = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    below += weights[i];
    if (uniform * sum < below) return candidates[i];
  }
  return candidates.front();  // rounding left the number above the sum
}

}  // namespace

std::vector<TokenProbability> MostProbable(const float* logits, int64_t vocabulary, int64_t count) {
  const float largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t v = 0; v < vocabulary; ++v)
    sum += std::exp(static_cast<double>(logits[v]) - largest);
  std::vector<int32_t> order(vocabulary);
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, vocabulary);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<TokenProbability> candidates;
  for (int64_t i = 0; i < count; ++i) {
    candidates.push_back(
        {order[i], std::exp(static_cast<double>(logits[order[i]]) - largest) / sum});
  }
  return candidates;
}

absl::Status CheckIds(const std::vector<int32_t>& ids, const RunConfig& config) {
  if (std::ssize(ids) > config.model.max_position_embeddings) {
    return UsageError("the text is too long for the model", "",
                      absl::StrCat(ids.size(), " tokens > ", config.model.max_position_embeddings));
  }
  for (int32_t id : ids) {
    if (id < config.model.vocab_size) continue;
    return CheckpointError("the checkpoint's vocabulary is larger than its model", "",
                           absl::StrCat("id ", id, " >= ", config.model.vocab_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MaskCandidates>> FillMasks(LoadedModel& model,
                                                      const Tokenizer& tokenizer,
                                                      const std::string& text, int64_t top) {
  const std::vector<int32_t> ids = tokenizer.Row(text);
  RETURN_IF_ERROR(CheckIds(ids, model.config));
  const Batch batch = OneRow(ids);
  std::vector<MaskCandidates> masks;
  for (int32_t t = 0; t < batch.T; ++t) {
    if (ids[t] != tokenizer.special().mask) continue;
    ASSIGN_OR_RETURN(const HostTensor logits, model.engine->Predict(batch, {t}));
    masks.push_back(
        {t, MostProbable(logits.view().as<float>(), Vocabulary(model, tokenizer), top)});
  }
  if (masks.empty()) return UsageError("the text has no [MASK] to fill in", text);
  return masks;
}

absl::StatusOr<Continuation> ContinueText(LoadedModel& model, const Tokenizer& tokenizer,
                                          const std::string& text,
                                          const ContinuationOptions& options) {
  if (absl::StrContains(text, "[MASK]")) {
    return UsageError("a causal model goes on with a text and has no [MASK] to fill in", text);
  }
  Continuation result;
  const int32_t eos = tokenizer.special().eos;
  result.prompt = {tokenizer.special().bos};
  tokenizer.Tokenize(text, &result.prompt);
  std::vector<int32_t> ids = result.prompt;
  RETURN_IF_ERROR(CheckIds(ids, model.config));
  const int64_t vocabulary = Vocabulary(model, tokenizer);
  const int64_t drawn_from = options.temperature == 0 ? 1
                             : options.top_k == 0     ? vocabulary
                                                      : options.top_k;
  std::vector<int32_t> shown;
  result.stopped = "tokens";
  for (int64_t n = 0; n < options.tokens; ++n) {
    if (std::ssize(ids) > model.config.model.max_position_embeddings) {
      result.stopped = "positions";
      break;
    }
    const auto last = static_cast<int32_t>(ids.size()) - 1;
    ASSIGN_OR_RETURN(const HostTensor logits, model.engine->Predict(OneRow(ids), {last}));
    const std::vector<TokenProbability> candidates =
        MostProbable(logits.view().as<float>(), vocabulary, drawn_from);
    result.tokens.push_back(Draw(candidates, n, options));
    ids.push_back(result.tokens.back().id);
    if (ids.back() == eos) {
      result.stopped = "eos";
      break;
    }
    shown.push_back(ids.back());
  }
  result.text = tokenizer.Decode(shown);
  return result;
}

}  // namespace sluice
