#include "data/token_shard_source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "data/hdf5_thread_safety.h"
#include "data/vocabulary_file.h"

namespace sluice {
namespace {

bool StartsEveryRow(const TokenShardSettings& settings) {
  return settings.row_start == "every_row";
}

// What rows begin with where the vocabulary's own texts do; -1: it has no such symbol.
int32_t StartSymbol(const SpecialTokenIds& special) {
  return special.cls >= 0 ? special.cls : special.bos;
}

absl::Status CheckSettings(const TokenShardSettings& settings) {
  const auto check_share = [](const char* name, double value) {
    if (value >= 0 && value <= 1) return absl::OkStatus();  // also false for NaN
    return UsageError("value is not in [0, 1]", name, absl::StrCat(value));
  };
  if (settings.sequence_length < 1 || settings.sequence_length > INT32_MAX) {
    return UsageError("data.sequence_length is out of range", "",
                      absl::StrCat(settings.sequence_length));
  }
  if (settings.row_start != "document" && settings.row_start != "every_row") {
    return UsageError("data.row_start is unknown", settings.row_start,
                      "known: document, every_row");
  }
  if (StartsEveryRow(settings) && settings.sequence_length < 2) {
    return UsageError("data.row_start every_row leaves no room for data", "data.sequence_length",
                      absl::StrCat(settings.sequence_length));
  }
  if (settings.objective == Objective::kCausal) return absl::OkStatus();
  RETURN_IF_ERROR(check_share("data.mlm_probability", settings.mlm_probability));
  RETURN_IF_ERROR(check_share("data.mlm_mask_share", settings.mlm_mask_share));
  RETURN_IF_ERROR(check_share("data.mlm_random_share", settings.mlm_random_share));
  // 0.9 + 0.1 in binary may exceed 1 by one rounding.
  if (settings.mlm_mask_share + settings.mlm_random_share > 1 + 1e-12) {
    return UsageError("data.mlm_mask_share and data.mlm_random_share exceed 1 together", "",
                      absl::StrCat(settings.mlm_mask_share, " + ", settings.mlm_random_share));
  }
  return absl::OkStatus();
}

// Null when nothing is masked because the objective is causal.
std::unique_ptr<MlmMasking> MaskingOf(const TokenShardSettings& settings,
                                      const TokenizerIdentity& tokenizer) {
  if (settings.objective == Objective::kCausal) return nullptr;
  const PhiloxKey key = settings.evaluation ? MlmMasking::EvaluationKey(kEvaluationMaskSeed)
                                            : MlmMasking::TrainingKey(settings.seed);
  return std::make_unique<MlmMasking>(
      MlmMaskingSettings{.probability = settings.mlm_probability,
                         .mask_share = settings.mlm_probability > 0 ? settings.mlm_mask_share : 0,
                         .random_share = settings.mlm_random_share,
                         .vocabulary_size = tokenizer.vocabulary_size,
                         .special = tokenizer.special},
      key);
}

}  // namespace

TokenShardSource::TokenShardSource(const TokenShardSettings& settings, Manifest manifest,
                                   TokenStore store, SequencePacking packing)
    : settings_(settings),
      manifest_(std::move(manifest)),
      store_(std::move(store)),
      packing_(std::move(packing)),
      sampler_(settings.seed, packing_.sequence_count(), !settings.evaluation),
      start_symbol_(StartsEveryRow(settings) ? StartSymbol(manifest_.tokenizer.special) : -1),
      masking_(MaskingOf(settings, manifest_.tokenizer)) {}

absl::StatusOr<std::unique_ptr<TokenShardSource>> TokenShardSource::Open(
    const std::string& path, const TokenShardSettings& settings) {
  RETURN_IF_ERROR(CheckSettings(settings));
  RETURN_IF_ERROR(CheckHdf5IsThreadSafe());
  ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(path));
  // It goes along with every checkpoint: better to miss it now than then.
  RETURN_IF_ERROR(CheckVocabulary(manifest.VocabularyPaths(), manifest.tokenizer));
  const bool masks = settings.objective == Objective::kMasked && settings.mlm_probability > 0;
  if (masks && settings.mlm_mask_share > 0 && manifest.tokenizer.special.mask < 0) {
    return DataError("the vocabulary has no [MASK] token, which masked language modelling needs",
                     manifest.path);
  }
  const bool starts_every_row = StartsEveryRow(settings);
  if (starts_every_row && StartSymbol(manifest.tokenizer.special) < 0) {
    return DataError(
        "the vocabulary has no start symbol ([CLS] or bos) for data.row_start every_row",
        manifest.path);
  }
  ASSIGN_OR_RETURN(TokenStore store, TokenStore::Open(manifest, settings.cache_bytes));
  auto packing = SequencePacking::Create(
      settings.packing, settings.sequence_length - (starts_every_row ? 1 : 0), store);
  if (!packing.ok()) return Annotate(packing.status(), manifest.path);
  std::vector<int64_t> document_offsets;
  if (!settings.attention_across_documents) {
    ASSIGN_OR_RETURN(document_offsets, store.DocumentOffsets());
  }
  auto source = std::unique_ptr<TokenShardSource>(
      new TokenShardSource(settings, std::move(manifest), std::move(store), *std::move(packing)));
  source->name_ = path;
  source->document_offsets_ = std::move(document_offsets);
  return source;
}

std::string TokenShardSource::Summary() const {
  const size_t shards = manifest_.shards.size();
  return absl::StrCat(
      store_.token_count(), " tokens in ", shards, shards == 1 ? " shard, " : " shards, ",
      sequences_per_epoch(), " sequences of ", settings_.sequence_length, " an epoch, ",
      packing_.dropped_tokens(), " tokens dropped",
      start_symbol_ < 0 ? "" : absl::StrCat(", each behind start symbol ", start_symbol_));
}

absl::Status TokenShardSource::Fill(int64_t first_sample, int64_t count, Batch* batch) {
  const int64_t T = settings_.sequence_length;
  CHECK(first_sample >= 0 && count >= 1 && count <= INT32_MAX / T)
      << "samples " << first_sample << " + " << count;
  Prepare(count, batch);
  for (int64_t b = 0; b < count; ++b) {
    const int64_t sample = first_sample + b;
    const int64_t begin = packing_.Begin(sampler_.Locate(sample).sequence);
    int32_t* row = batch->tokens.data() + b * T;
    if (start_symbol_ >= 0) row[0] = start_symbol_;
    RETURN_IF_ERROR(store_.Read(begin, T - prepended(), row + prepended()));
    batch->sample_index[static_cast<size_t>(b)] = sample;
    if (!document_offsets_.empty()) NumberDocuments(begin, batch->documents.data() + b * T);
    if (masking_ == nullptr) {
      AskForSuccessors(b, batch);
    } else {
      masking_->Apply(sample, static_cast<int32_t>(b * T), {row, static_cast<size_t>(T)},
                      &batch->target_positions, &batch->targets);
    }
  }
  return absl::OkStatus();
}

void TokenShardSource::Prepare(int64_t count, Batch* batch) const {
  const auto size = static_cast<size_t>(count * settings_.sequence_length);
  batch->B = count;
  batch->T = settings_.sequence_length;
  batch->tokens.resize(size);
  batch->segments.clear();
  batch->lengths.clear();
  batch->next_sentence_labels.clear();
  batch->documents.resize(document_offsets_.empty() ? 0 : size);
  batch->sample_index.resize(static_cast<size_t>(count));
  batch->target_positions.clear();
  batch->targets.clear();
  batch->target_positions.reserve(size);  // the most that can be: no growth in later batches
  batch->targets.reserve(size);
}

void TokenShardSource::AskForSuccessors(int64_t b, Batch* batch) const {
  const auto begin = static_cast<size_t>(b * batch->T);
  const std::vector<int32_t>& documents = batch->documents;
  for (size_t i = begin; i + 1 < begin + static_cast<size_t>(batch->T); ++i) {
    if (!documents.empty() && documents[i] != documents[i + 1]) continue;
    batch->target_positions.push_back(static_cast<int32_t>(i));
    batch->targets.push_back(batch->tokens[i + 1]);
  }
}

void TokenShardSource::NumberDocuments(int64_t begin, int32_t* documents) const {
  auto next = std::upper_bound(document_offsets_.begin(), document_offsets_.end(), begin);
  int32_t number = 0;
  if (start_symbol_ >= 0) *documents++ = number;
  for (int64_t t = 0; t < settings_.sequence_length - prepended(); ++t) {
    if (begin + t == *next) {
      ++number;
      ++next;
    }
    documents[t] = number;
  }
}

}  // namespace sluice
