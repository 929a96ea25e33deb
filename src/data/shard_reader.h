// Reads one token shard. Nothing in the file is believed: each field is checked, and each error
// names the file and the check that failed (DataError).
//
//   ASSIGN_OR_RETURN(ShardReader shard, ShardReader::Open("data/shard_00000.h5"));
//   RETURN_IF_ERROR(shard.CheckOffsets());
//   RETURN_IF_ERROR(shard.ReadTokens(0, 128, ids.data()));
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/hdf5_handle.h"
#include "data/shard_format.h"

namespace sluice {

class ShardReader {
 public:
  // Checks the header against itself and against the datasets' types and extents; reads no tokens.
  static absl::StatusOr<ShardReader> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const ShardHeader& header() const { return header_; }

  // Tokens [begin, begin + count), widened; and as they are stored, header().token_bytes each.
  // The range must lie in the shard (CHECK). DataError on a failed chunk checksum.
  absl::Status ReadTokens(int64_t begin, int64_t count, int32_t* ids) const;
  absl::Status ReadStoredTokens(int64_t begin, int64_t count, void* stored) const;

  // All of them: (documents + 1) and (rows + 1) positions in this shard.
  absl::StatusOr<std::vector<int64_t>> ReadDocumentOffsets() const;
  absl::StatusOr<std::vector<int64_t>> ReadRowOffsets() const;

  // Both offset arrays rise strictly from 0 to the token count, and each document starts a row.
  absl::Status CheckOffsets() const;

  // CheckOffsets, then every token: chunk checksums, id < vocabulary size, xxh3 of all.
  absl::Status Verify() const;

 private:
  absl::Status ReadHeader();
  absl::Status OpenDatasets();
  absl::Status ReadRange(hid_t memory_type, int64_t begin, int64_t count, void* out) const;
  absl::StatusOr<std::vector<int64_t>> ReadOffsets(const char* name, int64_t count) const;

  std::string path_;
  ShardHeader header_;
  Hdf5Handle file_;
  Hdf5Handle tokens_;
  Hdf5Handle tokens_space_;
};

}  // namespace sluice
