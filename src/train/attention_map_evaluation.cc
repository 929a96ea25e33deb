#include "train/attention_map_evaluation.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/check.h"
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

absl::StatusOr<std::vector<SequenceMaps>> EvaluateAttentionMaps(Engine& engine, BatchSource& source,
                                                                int64_t sequences) {
  const TokenTexts texts(source);
  const int64_t there = std::min(sequences, source.sequences_per_epoch());
  AttentionMapObserver observer(engine.config().model.num_hidden_layers);
  Batch batch;
  for (int64_t first = 0; first < there; first += engine.options().max_batch) {
    const int64_t count = std::min(engine.options().max_batch, there - first);
    RETURN_IF_ERROR(source.Fill(first, count, &batch));
    ModelLosses losses;
    RETURN_IF_ERROR(engine.Evaluate(batch, losses, &observer));
    CHECK_EQ(std::ssize(observer.maps()), first + count);
    for (int64_t b = 0; b < count; ++b) {
      SequenceMaps& maps = observer.maps()[first + b];
      for (int64_t t = 0; t < std::min(kMostMapTokens, batch.T); ++t) {
        maps.tokens.push_back(texts.Text(batch.tokens[b * batch.T + t]));
      }
    }
  }
  return std::move(observer.maps());
}

}  // namespace sluice
