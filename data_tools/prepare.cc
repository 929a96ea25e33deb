#include "data_tools/prepare.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/status.h"
#include "data/dataset_writer.h"
#include "data_tools/text/text_reader.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

// Text that is tokenized at a time, while the next piece is read.
constexpr int64_t kPieceBytes = int64_t{8} << 20;

// Rows of whole documents.
struct Piece {
  std::vector<std::string> rows;
  std::vector<size_t> document_ends;  // in rows
  bool last = false;
  TextStatistics statistics;  // of the reader, after this piece
};

// Cuts the text into rows and documents as `row` says; `separator` joins a document's paragraphs.
class PieceReader {
 public:
  PieceReader(TextReader* reader, std::string row, absl::string_view separator)
      : reader_(reader), row_(std::move(row)), separator_(separator) {}

  absl::StatusOr<Piece> Next() {
    Piece piece;
    int64_t bytes = 0;
    while (bytes < kPieceBytes && !piece.last) {
      ASSIGN_OR_RETURN(const bool more, NextDocument());
      piece.last = !more;
      if (!more) break;
      if (row_ == "document") {
        piece.rows.push_back(absl::StrJoin(document_, separator_));
        bytes += static_cast<int64_t>(piece.rows.back().size());
      } else {
        for (std::string& paragraph : document_) {
          bytes += static_cast<int64_t>(paragraph.size());
          piece.rows.push_back(std::move(paragraph));
        }
      }
      piece.document_ends.push_back(piece.rows.size());
    }
    piece.statistics = reader_->statistics();
    return piece;
  }

 private:
  // Replaces document_; false after the last.
  absl::StatusOr<bool> NextDocument() {
    if (row_ != "line") return reader_->NextDocument(&document_);
    document_.resize(1);
    return reader_->NextLine(&document_[0]);
  }

  TextReader* reader_;
  std::string row_;
  std::string separator_;
  std::vector<std::string> document_;
};

// Ids of every row, between its prefix and suffix; empty for a row without tokens of its own.
// Returns how many are the unknown token.
int64_t TokenizeRows(const Tokenizer& tokenizer, const std::vector<std::string>& rows,
                     std::vector<std::vector<int32_t>>* ids) {
  const size_t added = tokenizer.row_prefix().size() + tokenizer.row_suffix().size();
  const int32_t unk = tokenizer.special().unk;
  ids->resize(rows.size());
  std::vector<int64_t> unknown(rows.size(), 0);
  ParallelForDynamic(static_cast<int64_t>(rows.size()), [&](int, int64_t item) {
    const auto r = static_cast<size_t>(item);
    std::vector<int32_t>& row = (*ids)[r];
    row = tokenizer.Row(rows[r]);
    if (row.size() == added) row.clear();
    unknown[r] = std::count(row.begin(), row.end(), unk);
  });
  int64_t sum = 0;
  for (int64_t count : unknown) sum += count;
  return sum;
}

absl::Status WritePiece(const Piece& piece, const std::vector<std::vector<int32_t>>& ids,
                        DatasetWriter* writer) {
  size_t row = 0;
  for (size_t end : piece.document_ends) {
    for (; row < end; ++row) writer->AppendRow(ids[row]);
    RETURN_IF_ERROR(writer->EndDocument());
  }
  return absl::OkStatus();
}

std::string ProgressLine(const TextStatistics& statistics, int64_t tokens, double seconds) {
  const double megabytes = static_cast<double>(statistics.bytes) / 1e6;
  return absl::StrFormat("%.0f MB of text, %.1f M tokens, %.1f MB/s", megabytes,
                         static_cast<double>(tokens) / 1e6, megabytes / seconds);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFor(const PrepareOptions& options) {
  RETURN_IF_ERROR(CheckTokenizerKind(options.tokenizer));
  if (options.row != "document" && options.row != "paragraph" && options.row != "line") {
    return UsageError("--row is unknown", options.row, "known: document, paragraph, line");
  }
  if (options.shard_tokens < 1) {
    return UsageError("--shard-tokens is not positive", absl::StrCat(options.shard_tokens));
  }
  return LoadTokenizer(
      {.path = options.vocabulary, .kind = options.tokenizer, .cased = options.cased});
}

DatasetWriterSettings WriterSettings(const PrepareOptions& options, const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special();
  return {.folder = options.folder,
          .vocabulary_paths = VocabularyPaths(options.vocabulary, options.tokenizer),
          .tokenizer = {.kind = std::string(tokenizer.kind()),
                        .cased = tokenizer.cased(),
                        .vocabulary_size = tokenizer.vocabulary_size(),
                        .special = {.pad = special.pad,
                                    .unk = special.unk,
                                    .cls = special.cls,
                                    .sep = special.sep,
                                    .mask = special.mask,
                                    .bos = special.bos,
                                    .eos = special.eos},
                        .vocabulary_sha256 = tokenizer.vocabulary_sha256()},
          .row_mode = options.row,
          .sources = options.texts,
          .shard_tokens = options.shard_tokens,
          .overwrite = options.overwrite};
}

// "[CLS] and [SEP]", "</s>".
std::string AddedTokens(const Tokenizer& tokenizer) {
  std::vector<absl::string_view> texts;
  for (const auto ids : {tokenizer.row_prefix(), tokenizer.row_suffix()}) {
    for (const int32_t id : ids) texts.push_back(tokenizer.TokenText(id));
  }
  return absl::StrJoin(texts, " and ");
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

absl::StatusOr<PrepareSummary> Prepare(const PrepareOptions& options) {
  const Clock::time_point start = Clock::now();
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, LoadFor(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader, TextReader::Open(options.texts));
  ASSIGN_OR_RETURN(const std::unique_ptr<DatasetWriter> writer,
                   DatasetWriter::Create(WriterSettings(options, *tokenizer)));
  SetComputeThreads(options.threads > 0
                        ? options.threads
                        : std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  PieceReader pieces(reader.get(), options.row, tokenizer->paragraph_separator());
  PrepareSummary summary;
  summary.added_tokens = AddedTokens(*tokenizer);
  std::vector<std::vector<int32_t>> ids;
  int64_t tokens = 0;
  double last_progress = 0;
  ASSIGN_OR_RETURN(Piece piece, pieces.Next());
  while (true) {
    std::future<absl::StatusOr<Piece>> next;
    if (!piece.last) next = std::async(std::launch::async, [&pieces] { return pieces.Next(); });
    summary.unknown_tokens += TokenizeRows(*tokenizer, piece.rows, &ids);
    RETURN_IF_ERROR(WritePiece(piece, ids, writer.get()));
    for (const std::vector<int32_t>& row : ids) tokens += static_cast<int64_t>(row.size());
    const double seconds = SecondsSince(start);
    if (options.progress && seconds - last_progress >= options.progress_seconds) {
      options.progress(ProgressLine(piece.statistics, tokens, seconds));
      last_progress = seconds;
    }
    if (piece.last) break;
    ASSIGN_OR_RETURN(piece, next.get());
  }
  auto manifest = writer->Finish();
  if (!manifest.ok()) return Annotate(manifest.status(), absl::StrJoin(options.texts, " "));
  summary.manifest = *std::move(manifest);
  summary.text_bytes = piece.statistics.bytes;
  summary.invalid_sequences = piece.statistics.invalid_sequences;
  summary.seconds = SecondsSince(start);
  return summary;
}

std::string SummaryText(const PrepareSummary& summary) {
  const Manifest& manifest = summary.manifest;
  const auto tokens = static_cast<double>(manifest.total_tokens());
  const auto bytes = static_cast<double>(summary.text_bytes);
  std::string text = absl::StrFormat(
      "%s\n"
      "documents         %d\n"
      "rows              %d (one a %s)\n"
      "tokens            %d, %s included\n"
      "bytes per token   %.2f\n",
      manifest.path, manifest.total_documents(), manifest.total_rows(), manifest.row_mode,
      manifest.total_tokens(), summary.added_tokens, bytes / tokens);
  if (manifest.tokenizer.kind == "wordpiece") {  // BPE knows every byte
    absl::StrAppendFormat(&text, "[UNK]             %d (%.4f %% of the tokens)\n",
                          summary.unknown_tokens,
                          100.0 * static_cast<double>(summary.unknown_tokens) / tokens);
  }
  absl::StrAppendFormat(&text,
                        "ill-formed UTF-8  %d sequences\n"
                        "shards            %d\n"
                        "speed             %.1f MB of text in %.1f s, %.1f MB/s\n",
                        summary.invalid_sequences, manifest.shards.size(), bytes / 1e6,
                        summary.seconds, bytes / 1e6 / summary.seconds);
  return text;
}

}  // namespace sluice
