#include "train/attention_map_evaluation.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "data/vocabulary_file.h"

namespace sluice {
namespace {

// What stands for a token in a map: a WordPiece as the vocabulary has it, a byte-level BPE's text.
class TokenTexts {
 public:
  explicit TokenTexts(const BatchSource& source)
      : word_pieces_(source.tokenizer().kind == "wordpiece") {
    if (source.manifest() == nullptr) return;
    auto vocabulary =
        VocabularyFile::Read(source.manifest()->VocabularyPaths(), source.tokenizer().kind);
    if (vocabulary.ok()) vocabulary_ = *std::move(vocabulary);
  }

  std::string Text(int32_t token) const {
    if (!vocabulary_.has_value() || token < 0 || token >= vocabulary_->size()) {
      return absl::StrCat(token);
    }
    return word_pieces_ ? vocabulary_->piece(token) : vocabulary_->Decode(std::span(&token, 1));
  }

 private:
  bool word_pieces_;
  std::optional<VocabularyFile> vocabulary_;
};

}  // namespace

absl::StatusOr<std::vector<int64_t>> MapIndices(const TelemetryConfig& telemetry,
                                                const BatchSource& source) {
  const int64_t there = source.sequences_per_epoch();
  std::vector<int64_t> indices = telemetry.attention_map_indices;
  if (indices.empty()) {
    indices.resize(std::min(telemetry.attention_map_sequences, there));
    std::iota(indices.begin(), indices.end(), 0);
  } else if (indices.back() >= there) {
    return UsageError("no such sequence", "telemetry.attention_map_indices",
                      absl::StrCat(indices.back(), ", where ", source.name(), " has ", there));
  }
  return indices;
}

absl::StatusOr<std::vector<SequenceMaps>> EvaluateAttentionMaps(Engine& engine, BatchSource& source,
                                                                std::span<const int64_t> indices,
                                                                int64_t most_tokens) {
  const TokenTexts texts(source);
  AttentionMapObserver observer(engine.config().model.num_hidden_layers, most_tokens);
  Batch batch;
  for (size_t first = 0; first < indices.size();) {
    // What lies together goes together.
    int64_t count = 1;
    while (first + count < indices.size() && count < engine.options().max_batch &&
           indices[first + count] == indices[first] + count) {
      ++count;
    }
    RETURN_IF_ERROR(source.Fill(indices[first], count, &batch));
    ModelLosses losses;
    RETURN_IF_ERROR(engine.Evaluate(batch, losses, &observer));
    CHECK_EQ(observer.maps().size(), first + count);
    for (int64_t b = 0; b < count; ++b) {
      SequenceMaps& maps = observer.maps()[first + b];
      maps.index = indices[first + b];
      for (int64_t t = 0; t < std::min(most_tokens, batch.T); ++t) {
        maps.tokens.push_back(texts.Text(batch.tokens[b * batch.T + t]));
      }
    }
    first += count;
  }
  return std::move(observer.maps());
}

}  // namespace sluice
