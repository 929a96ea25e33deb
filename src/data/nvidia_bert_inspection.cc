#include "data/nvidia_bert_inspection.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/status.h"
#include "data/nvidia_bert_store.h"
#include "data/shard_format.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<NvidiaBertSample> ReadSample(const NvidiaBertStore& store, size_t file,
                                            int64_t row) {
  NvidiaBertRows rows;
  RETURN_IF_ERROR(
      ReadNvidiaBertRows(store.files()[file], store.headers()[file], {}, row, 1, &rows));
  NvidiaBertSample sample{.file = static_cast<int64_t>(file),
                          .row = row,
                          .length = rows.lengths[0],
                          .targets = rows.counts[0],
                          .next_sentence_label = rows.next_sentence_labels[0],
                          .ids = std::move(rows.tokens)};
  sample.ids.resize(static_cast<size_t>(sample.length));
  return sample;
}

}  // namespace

bool NamesNvidiaBert(const std::string& path) {
  std::error_code error;
  if (fs::exists(fs::path(path) / kManifestFileName, error)) return false;
  const absl::StatusOr<std::vector<std::string>> files = NvidiaBertFiles(path);
  return files.ok() && LooksLikeNvidiaBert(files->front());
}

int64_t NvidiaBertInspection::rows() const {
  return std::accumulate(
      headers.begin(), headers.end(), int64_t{0},
      [](int64_t sum, const NvidiaBertHeader& header) { return sum + header.rows; });
}

absl::StatusOr<NvidiaBertInspection> InspectNvidiaBert(const std::string& path, int64_t samples) {
  ASSIGN_OR_RETURN(const NvidiaBertStore store, NvidiaBertStore::Open(path, {}));
  NvidiaBertInspection inspection;
  inspection.path = path;
  inspection.files = store.files();
  inspection.headers = store.headers();
  for (const std::string& file : store.files()) {
    std::error_code error;
    inspection.file_bytes.push_back(static_cast<int64_t>(fs::file_size(file, error)));
  }
  const int64_t rows = store.rows(), count = std::min(samples, rows);
  int64_t before = 0;  // rows of earlier files
  size_t file = 0;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t row = rows / count * s;
    while (row - before >= store.headers()[file].rows) before += store.headers()[file++].rows;
    ASSIGN_OR_RETURN(NvidiaBertSample sample, ReadSample(store, file, row - before));
    inspection.samples.push_back(std::move(sample));
  }
  return inspection;
}

std::string InspectionText(const NvidiaBertInspection& inspection) {
  std::string text = absl::StrFormat(
      "%s\nlayout      NVIDIA BERT, %d files, %d rows of %d tokens\n", inspection.path,
      inspection.files.size(), inspection.rows(), inspection.headers.front().sequence_length);
  for (size_t f = 0; f < inspection.files.size(); ++f) {
    const NvidiaBertHeader& header = inspection.headers[f];
    absl::StrAppendFormat(
        &text,
        "file        %s: %d rows, at most %d targets each, %d file bytes, chunks of %d rows\n",
        inspection.files[f], header.rows, header.predictions, inspection.file_bytes[f],
        header.chunk_rows);
  }
  for (const NvidiaBertSample& sample : inspection.samples) {
    absl::StrAppendFormat(
        &text, "file %d, row %d, %d tokens, %d targets, next sentence %s:\n  %s\n", sample.file,
        sample.row, sample.length, sample.targets,
        sample.next_sentence_label == 0 ? "follows" : "is random", absl::StrJoin(sample.ids, " "));
  }
  return text;
}

nlohmann::json InspectionJson(const NvidiaBertInspection& inspection) {
  nlohmann::json json = {{"path", inspection.path},
                         {"layout", "nvidia_bert"},
                         {"rows", inspection.rows()},
                         {"sequence_length", inspection.headers.front().sequence_length},
                         {"files", nlohmann::json::array()},
                         {"samples", nlohmann::json::array()}};
  for (size_t f = 0; f < inspection.files.size(); ++f) {
    const NvidiaBertHeader& header = inspection.headers[f];
    json["files"].push_back({{"file", inspection.files[f]},
                             {"rows", header.rows},
                             {"predictions", header.predictions},
                             {"bytes", inspection.file_bytes[f]},
                             {"chunk_rows", header.chunk_rows}});
  }
  for (const NvidiaBertSample& sample : inspection.samples) {
    json["samples"].push_back({{"file", sample.file},
                               {"row", sample.row},
                               {"tokens", sample.length},
                               {"targets", sample.targets},
                               {"next_sentence_label", sample.next_sentence_label},
                               {"ids", sample.ids}});
  }
  return json;
}

absl::StatusOr<NvidiaBertVerification> VerifyNvidiaBert(const std::string& path) {
  ASSIGN_OR_RETURN(NvidiaBertStore store, NvidiaBertStore::Open(path, {}));
  NvidiaBertVerification sum{.files = std::ssize(store.files()), .rows = store.rows()};
  for (int64_t block = 0; block < std::ssize(store.rows_of_block()); ++block) {
    ASSIGN_OR_RETURN(const NvidiaBertRows* rows, store.Block(block));
    sum.tokens = std::accumulate(rows->lengths.begin(), rows->lengths.end(), sum.tokens);
    sum.targets = std::accumulate(rows->counts.begin(), rows->counts.end(), sum.targets);
    for (const std::vector<int32_t>* ids : {&rows->tokens, &rows->targets}) {
      sum.largest_id = std::max(sum.largest_id, *std::max_element(ids->begin(), ids->end()));
    }
  }
  return sum;
}

}  // namespace sluice
