#include "data/nvidia_bert_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "data/hdf5_thread_safety.h"

namespace sluice {
namespace {

// Of the rows that are shuffled among each other, and stay in memory: 131072 rows of 128 tokens,
// about 100 MiB. Part of what a run computes, so it depends on nothing but the files.
constexpr int64_t kWindowTokens = int64_t{1} << 24;

int64_t BlocksAWindow(const NvidiaBertStore& store) {
  return CeilDiv(kWindowTokens, store.block_rows() * store.sequence_length());
}

}  // namespace

absl::StatusOr<std::unique_ptr<NvidiaBertSource>> NvidiaBertSource::Open(
    const std::string& path, const NvidiaBertSettings& settings) {
  if (settings.vocabulary_size <= 0 || settings.vocabulary_size > INT32_MAX) {
    return UsageError("model.vocab_size must be set: the data does not say it", path,
                      absl::StrCat("model.vocab_size ", settings.vocabulary_size));
  }
  if (settings.segments < 1) {
    return UsageError("model.type_vocab_size is out of range", "", absl::StrCat(settings.segments));
  }
  RETURN_IF_ERROR(CheckHdf5IsThreadSafe());
  ASSIGN_OR_RETURN(NvidiaBertStore store,
                   NvidiaBertStore::Open(path, {.vocabulary_size = settings.vocabulary_size,
                                                .segments = settings.segments}));
  if (store.sequence_length() != settings.sequence_length) {
    return DataError("rows are not of data.sequence_length tokens", store.files().front(),
                     absl::StrCat(store.sequence_length(), " tokens, data.sequence_length ",
                                  settings.sequence_length));
  }
  return std::unique_ptr<NvidiaBertSource>(new NvidiaBertSource(path, settings, std::move(store)));
}

NvidiaBertSource::NvidiaBertSource(std::string path, const NvidiaBertSettings& settings,
                                   NvidiaBertStore store)
    : name_(std::move(path)),
      settings_(settings),
      tokenizer_({.kind = "unknown",
                  .vocabulary_size = settings.vocabulary_size,
                  .vocabulary_sha256 = ""}),
      store_(std::move(store)),
      shuffle_({.seed = settings.seed,
                .shuffled = !settings.evaluation,
                .rows_of_block = store_.rows_of_block(),
                .blocks_a_window = BlocksAWindow(store_)}) {
  store_.KeepBlocks(settings.evaluation ? 1 : BlocksAWindow(store_));
}

std::string NvidiaBertSource::Summary() const {
  const size_t files = store_.files().size();
  std::string text = absl::StrCat(store_.rows(), " rows of ", settings_.sequence_length,
                                  " tokens in ", files, files == 1 ? " file" : " files");
  if (settings_.evaluation) return text;
  absl::StrAppend(&text, ", shuffled");
  const int64_t window = BlocksAWindow(store_) * store_.block_rows();
  if (window < store_.rows()) absl::StrAppend(&text, " within windows of ", window, " rows");
  return text;
}

absl::Status NvidiaBertSource::Fill(int64_t first_sample, int64_t count, Batch* batch) {
  CHECK(first_sample >= 0 && count >= 1 && count <= INT32_MAX / settings_.sequence_length)
      << "samples " << first_sample << " + " << count;
  Prepare(count, batch);
  for (int64_t b = 0; b < count; ++b) {
    const BlockShuffle::Place place = shuffle_.Locate(first_sample + b);
    ASSIGN_OR_RETURN(const NvidiaBertRows* rows, store_.Block(place.block));
    CopyRow(*rows, store_.PredictionsOf(place.block), place.row, b, batch);
    batch->sample_index[static_cast<size_t>(b)] = first_sample + b;
  }
  return absl::OkStatus();
}

void NvidiaBertSource::Prepare(int64_t count, Batch* batch) const {
  const auto rows = static_cast<size_t>(count);
  const size_t size = rows * static_cast<size_t>(settings_.sequence_length);
  const size_t most_targets = rows * static_cast<size_t>(store_.predictions());
  batch->B = count;
  batch->T = settings_.sequence_length;
  batch->tokens.resize(size);
  batch->segments.resize(size);
  batch->lengths.resize(rows);
  batch->documents.clear();
  batch->sample_index.resize(rows);
  batch->target_positions.clear();
  batch->targets.clear();
  batch->target_positions.reserve(most_targets);
  batch->targets.reserve(most_targets);
  batch->next_sentence_labels.resize(settings_.next_sentence_labels ? rows : 0);
}

void NvidiaBertSource::CopyRow(const NvidiaBertRows& rows, int64_t predictions, int64_t row,
                               int64_t b, Batch* batch) const {
  const int64_t T = settings_.sequence_length;
  const auto from = static_cast<size_t>(row), to = static_cast<size_t>(b);
  std::copy_n(rows.tokens.begin() + row * T, T, batch->tokens.begin() + b * T);
  std::copy_n(rows.segments.begin() + row * T, T, batch->segments.begin() + b * T);
  batch->lengths[to] = rows.lengths[from];
  for (int64_t p = 0; p < rows.counts[from]; ++p) {
    const auto target = static_cast<size_t>(row * predictions + p);
    batch->target_positions.push_back(static_cast<int32_t>(b * T) + rows.positions[target]);
    batch->targets.push_back(rows.targets[target]);
  }
  if (settings_.next_sentence_labels) {
    batch->next_sentence_labels[to] = static_cast<uint8_t>(rows.next_sentence_labels[from]);
  }
}

}  // namespace sluice
