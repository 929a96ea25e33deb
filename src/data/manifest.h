// manifest.yaml: which shards make a data set, in which order, and what made them.
//
//   ASSIGN_OR_RETURN(Manifest manifest, ReadManifest("data/wiki"));        // folder or file
//   ASSIGN_OR_RETURN(std::vector<ShardReader> shards, OpenShards(manifest));
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/shard_format.h"
#include "data/shard_reader.h"

namespace sluice {

struct ManifestShard {
  std::string file;  // a plain name, beside the manifest
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t rows = 0;
  int64_t bytes = 0;  // of the file
  uint64_t xxh3 = 0;  // of the tokens' bytes
};

struct Manifest {
  std::string path;  // of the manifest itself; not stored
  TokenizerIdentity tokenizer;
  std::vector<std::string> vocabulary_files;  // plain names, beside the manifest
  std::string row_mode;                       // what one row is: document, paragraph or line
  std::vector<std::string> sources;           // names of the text files, as they were given
  std::vector<ManifestShard> shards{};

  int64_t total_tokens() const;
  int64_t total_documents() const;
  int64_t total_rows() const;
  // Path of a file beside the manifest.
  std::string Beside(const std::string& file) const;
  std::vector<std::string> VocabularyPaths() const;
};

// `path` is a manifest or the folder that holds manifest.yaml. Checks every field; totals must be
// the sums; an unknown field is an error that names its line. DataError.
absl::StatusOr<Manifest> ReadManifest(const std::string& path);

// Writes manifest.path. DeviceError when the disk declines.
absl::Status WriteManifest(const Manifest& manifest);

// Opens all shards and compares each header with the manifest (tokenizer, counts, size, xxh3) and
// its offsets with its header. DataError naming the shard and both values.
absl::StatusOr<std::vector<ShardReader>> OpenShards(const Manifest& manifest);

// What differs, for messages: "vocabulary_size 30522 vs. 28996"; "" when equal.
std::string DescribeDifference(const TokenizerIdentity& a, const TokenizerIdentity& b);

}  // namespace sluice
