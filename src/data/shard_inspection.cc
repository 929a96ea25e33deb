#include "data/shard_inspection.h"

#include <algorithm>
#include <bit>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/status.h"
#include "data/content_hash.h"
#include "data/vocabulary_file.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

struct ShardSet {
  Manifest manifest;
  std::vector<ShardReader> shards;
  std::vector<std::string> vocabulary_paths;
};

absl::StatusOr<ShardSet> OpenShardSet(const std::string& path) {
  ShardSet set;
  std::error_code error;
  if (fs::is_directory(path, error) || absl::EndsWith(path, ".yaml")) {
    ASSIGN_OR_RETURN(set.manifest, ReadManifest(path));
    ASSIGN_OR_RETURN(set.shards, OpenShards(set.manifest));
    set.vocabulary_paths = set.manifest.VocabularyPaths();
    return set;
  }
  ASSIGN_OR_RETURN(ShardReader shard, ShardReader::Open(path));
  RETURN_IF_ERROR(shard.CheckOffsets());
  const ShardHeader& header = shard.header();
  set.manifest.tokenizer = header.tokenizer;
  set.manifest.shards = {{.file = fs::path(path).filename().string(),
                          .tokens = header.token_count,
                          .documents = header.document_count,
                          .rows = header.row_count,
                          .bytes = static_cast<int64_t>(fs::file_size(path, error)),
                          .xxh3 = header.xxh3}};
  for (const std::string& name : VocabularyFileNames(header.tokenizer.kind)) {
    set.vocabulary_paths.push_back((fs::path(path).parent_path() / name).string());
  }
  set.shards.push_back(std::move(shard));
  return set;
}

void CountLengths(const std::vector<int64_t>& offsets, LengthHistogram* histogram) {
  for (size_t i = 1; i < offsets.size(); ++i) {
    const auto length = static_cast<uint64_t>(offsets[i] - offsets[i - 1]);
    const size_t bin = static_cast<size_t>(std::bit_width(length)) - 1;
    ++(*histogram)[std::min(bin, histogram->size() - 1)];
  }
}

// The beginnings of `options.samples` documents, evenly spread over all.
absl::Status TakeSamples(const ShardSet& set, const InspectionOptions& options,
                         const VocabularyFile& vocabulary, std::vector<InspectionSample>* samples) {
  const int64_t documents = set.manifest.total_documents();
  const int64_t count = std::min(options.samples, documents);
  int64_t before = 0;  // documents of earlier shards
  int64_t taken = 0;
  for (size_t s = 0; s < set.shards.size() && taken < count; ++s) {
    const ShardReader& shard = set.shards[s];
    ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, shard.ReadDocumentOffsets());
    for (; taken < count; ++taken) {
      const int64_t document = documents / count * taken - before;
      if (document >= shard.header().document_count) break;
      const int64_t begin = offsets[static_cast<size_t>(document)];
      const int64_t tokens = offsets[static_cast<size_t>(document) + 1] - begin;
      std::vector<int32_t> ids(static_cast<size_t>(std::min(tokens, options.sample_tokens)));
      RETURN_IF_ERROR(shard.ReadTokens(begin, static_cast<int64_t>(ids.size()), ids.data()));
      samples->push_back({.shard = static_cast<int64_t>(s),
                          .document = document,
                          .tokens = tokens,
                          .text = vocabulary.Decode(ids)});
    }
    before += shard.header().document_count;
  }
  return absl::OkStatus();
}

// Lines "  [   64,  128)   1234  #########".
std::string HistogramText(const LengthHistogram& histogram) {
  constexpr int64_t kWidth = 50;
  const int64_t largest = *std::max_element(histogram.begin(), histogram.end());
  std::string text;
  size_t first = 0, last = histogram.size();
  while (first < last && histogram[first] == 0) ++first;
  while (last > first && histogram[last - 1] == 0) --last;
  for (size_t bin = first; bin < last; ++bin) {
    const int64_t count = histogram[bin];
    const int64_t width = count == 0 ? 0 : std::max<int64_t>(1, count * kWidth / largest);
    absl::StrAppendFormat(&text, "  [%8d, %8d) %10d%s%s\n", int64_t{1} << bin,
                          int64_t{1} << (bin + 1), count, width > 0 ? "  " : "",
                          std::string(static_cast<size_t>(width), '#'));
  }
  return text;
}

nlohmann::json TokenizerJson(const TokenizerIdentity& tokenizer) {
  nlohmann::json json = {{"kind", tokenizer.kind},
                         {"cased", tokenizer.cased},
                         {"vocabulary_size", tokenizer.vocabulary_size},
                         {"vocabulary_sha256", tokenizer.vocabulary_sha256}};
  for (const SpecialTokenField& field : kSpecialTokenFields) {
    json[field.name] = tokenizer.special.*field.id;
  }
  return json;
}

// "[PAD] 0  [UNK] 100  …" for WordPiece, "pad 1  bos 2 …" for BPE, whose tokens have many texts.
std::string SpecialTokensText(const TokenizerIdentity& tokenizer) {
  const SpecialTokenIds& special = tokenizer.special;
  if (tokenizer.kind == "bpe") {
    return absl::StrFormat("pad %d  unk %d  bos %d  eos %d", special.pad, special.unk, special.bos,
                           special.eos);
  }
  return absl::StrFormat("[PAD] %d  [UNK] %d  [CLS] %d  [SEP] %d  [MASK] %d", special.pad,
                         special.unk, special.cls, special.sep, special.mask);
}

}  // namespace

absl::StatusOr<ShardInspection> InspectShards(const std::string& path,
                                              const InspectionOptions& options) {
  ASSIGN_OR_RETURN(ShardSet set, OpenShardSet(path));
  ShardInspection inspection;
  inspection.path = path;
  for (const ShardReader& shard : set.shards) {
    inspection.headers.push_back(shard.header());
    ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, shard.ReadDocumentOffsets());
    CountLengths(offsets, &inspection.document_lengths);
  }
  // Without the right vocabulary the samples show ids: a shard alone is still worth a look.
  absl::StatusOr<VocabularyFile> vocabulary =
      VocabularyFile::Read(set.vocabulary_paths, set.manifest.tokenizer.kind);
  inspection.has_vocabulary =
      vocabulary.ok() && vocabulary->sha256() == set.manifest.tokenizer.vocabulary_sha256;
  if (!inspection.has_vocabulary) vocabulary = VocabularyFile();
  RETURN_IF_ERROR(TakeSamples(set, options, *vocabulary, &inspection.samples));
  inspection.manifest = std::move(set.manifest);
  return inspection;
}

std::string InspectionText(const ShardInspection& inspection) {
  const Manifest& manifest = inspection.manifest;
  const TokenizerIdentity& tokenizer = manifest.tokenizer;
  std::string text = absl::StrFormat("%s\n", inspection.path);
  absl::StrAppendFormat(&text, "tokenizer   %s, %s, vocabulary of %d (sha256 %s…)\n",
                        tokenizer.kind, tokenizer.cased ? "cased" : "uncased",
                        tokenizer.vocabulary_size, tokenizer.vocabulary_sha256.substr(0, 12));
  absl::StrAppend(&text, "special     ", SpecialTokensText(tokenizer), "\n");
  absl::StrAppendFormat(
      &text, "counts      %d tokens, %d documents, %d rows%s\n", manifest.total_tokens(),
      manifest.total_documents(), manifest.total_rows(),
      manifest.row_mode.empty() ? "" : absl::StrCat(" (one a ", manifest.row_mode, ")"));
  for (const std::string& source : manifest.sources) {
    absl::StrAppend(&text, "source      ", source, "\n");
  }
  for (size_t s = 0; s < manifest.shards.size(); ++s) {
    const ManifestShard& shard = manifest.shards[s];
    absl::StrAppendFormat(
        &text,
        "shard       %s: format %d, %d tokens of %d bytes, %d documents, %d file bytes, "
        "xxh3 %s, by %s\n",
        shard.file, inspection.headers[s].format_version, shard.tokens,
        inspection.headers[s].token_bytes, shard.documents, shard.bytes, Xxh3Text(shard.xxh3),
        inspection.headers[s].creator);
  }
  absl::StrAppend(&text, "documents by length in tokens\n",
                  HistogramText(inspection.document_lengths));
  if (!inspection.has_vocabulary) {
    absl::StrAppend(&text, "no matching vocabulary beside the shard: samples show ids\n");
  }
  for (const InspectionSample& sample : inspection.samples) {
    absl::StrAppendFormat(&text, "shard %d, document %d, %d tokens:\n  %s\n", sample.shard,
                          sample.document, sample.tokens, sample.text);
  }
  return text;
}

nlohmann::json InspectionJson(const ShardInspection& inspection) {
  const Manifest& manifest = inspection.manifest;
  nlohmann::json json = {
      {"path", inspection.path},           {"tokenizer", TokenizerJson(manifest.tokenizer)},
      {"row", manifest.row_mode},          {"sources", manifest.sources},
      {"tokens", manifest.total_tokens()}, {"documents", manifest.total_documents()},
      {"rows", manifest.total_rows()},     {"has_vocabulary", inspection.has_vocabulary}};
  for (size_t s = 0; s < manifest.shards.size(); ++s) {
    const ManifestShard& shard = manifest.shards[s];
    json["shards"].push_back({{"file", shard.file},
                              {"format_version", inspection.headers[s].format_version},
                              {"token_bytes", inspection.headers[s].token_bytes},
                              {"tokens", shard.tokens},
                              {"documents", shard.documents},
                              {"rows", shard.rows},
                              {"bytes", shard.bytes},
                              {"xxh3", Xxh3Text(shard.xxh3)},
                              {"creator", inspection.headers[s].creator}});
  }
  json["document_lengths"] = nlohmann::json::array();
  for (size_t bin = 0; bin < inspection.document_lengths.size(); ++bin) {
    if (inspection.document_lengths[bin] == 0) continue;
    json["document_lengths"].push_back({{"tokens_from", int64_t{1} << bin},
                                        {"tokens_below", int64_t{1} << (bin + 1)},
                                        {"documents", inspection.document_lengths[bin]}});
  }
  json["samples"] = nlohmann::json::array();
  for (const InspectionSample& sample : inspection.samples) {
    json["samples"].push_back({{"shard", sample.shard},
                               {"document", sample.document},
                               {"tokens", sample.tokens},
                               {"text", sample.text}});
  }
  return json;
}

absl::StatusOr<VerificationSummary> VerifyShards(const std::string& path) {
  ASSIGN_OR_RETURN(const ShardSet set, OpenShardSet(path));
  VerificationSummary summary;
  for (const ShardReader& shard : set.shards) {
    RETURN_IF_ERROR(shard.Verify());
    ++summary.shards;
    summary.documents += shard.header().document_count;
    summary.tokens += shard.header().token_count;
  }
  if (set.manifest.path.empty()) return summary;  // a single shard promises no vocabulary
  RETURN_IF_ERROR(CheckVocabulary(set.vocabulary_paths, set.manifest.tokenizer));
  return summary;
}

}  // namespace sluice
