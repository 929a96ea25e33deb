// Writes a data set: a folder of token shards, a copy of the vocabulary and, last, manifest.yaml.
// Until the manifest is there the folder is no data set. A writer that is not finished takes away
// what it wrote, and the folder if it made that; the next run cleans up what a killed one left.
//
//   ASSIGN_OR_RETURN(auto writer, DatasetWriter::Create({.folder = "data/wiki", .tokenizer = …}));
//   for (document…) { for (row…) writer->AppendRow(ids); RETURN_IF_ERROR(writer->EndDocument()); }
//   ASSIGN_OR_RETURN(Manifest manifest, writer->Finish());
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/manifest.h"
#include "data/shard_format.h"
#include "data/shard_writer.h"

namespace sluice {

struct DatasetWriterSettings {
  std::string folder;  // made when it does not exist
  // Copied beside the shards, under the names that VocabularyFileNames gives, in that order.
  std::vector<std::string> vocabulary_paths;
  TokenizerIdentity tokenizer;  // of that vocabulary
  std::string row_mode = "document";
  std::vector<std::string> sources{};
  int64_t shard_tokens = int64_t{32} << 20;  // a shard ends with the document that reaches this
  bool overwrite = false;                    // else a folder that holds a manifest is refused
};

class DatasetWriter {
 public:
  ~DatasetWriter();
  // UsageError: the folder holds a data set or another vocabulary (and not overwrite), cannot be
  // made or written to. DataError: the vocabulary cannot be read.
  static absl::StatusOr<std::unique_ptr<DatasetWriter>> Create(
      const DatasetWriterSettings& settings);

  // As ShardWriter::AppendRow; a row belongs to the current document.
  void AppendRow(std::span<const int32_t> ids) { writer_.AppendRow(ids); }
  // Ends the document and, when the shard is full, writes it.
  absl::Status EndDocument();
  // Writes what remains and the manifest. DataError when there was no token at all.
  absl::StatusOr<Manifest> Finish();

 private:
  struct VocabularyCopy {
    std::string path, bytes;
  };

  DatasetWriter(const DatasetWriterSettings& settings, Manifest manifest);
  absl::Status MakeFolder(const std::vector<VocabularyCopy>& copies);
  absl::Status WriteShard();

  DatasetWriterSettings settings_;
  Manifest manifest_;
  ShardWriter writer_;
  bool made_folder_ = false;
  std::vector<std::string> written_;  // paths that were not there before; none once it is finished
};

}  // namespace sluice
