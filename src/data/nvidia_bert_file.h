// Reads one file of NVIDIA's BERT layout: rows that were padded, masked and paired when it was
// made. docs/formats/nvidia_bert.md describes it. Nothing in the file is believed: header and
// shapes are checked when it is opened, values when they are read, and each error names the file
// and the check that failed (DataError).
//
//   ASSIGN_OR_RETURN(NvidiaBertHeader header, ReadNvidiaBertHeader(path));
//   RETURN_IF_ERROR(ReadNvidiaBertRows(path, header, limits, 0, 1024, &rows));
//
// No file stays open between calls: a data set may have thousands. Any thread may call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

struct NvidiaBertHeader {
  int64_t rows = 0;
  int64_t sequence_length = 0;  // T
  int64_t predictions = 0;      // P: room for targets in a row
  int64_t chunk_rows = 1;       // rows that HDF5 decompresses at a time, at most
  friend bool operator==(const NvidiaBertHeader&, const NvidiaBertHeader&) = default;
};

// What values may be.
struct NvidiaBertLimits {
  int64_t vocabulary_size = INT32_MAX;  // ids are below
  int64_t segments = 2;                 // segment ids are below
};

// R rows, checked.
struct NvidiaBertRows {
  std::vector<int32_t> tokens;     // (R, T): input ids, masks applied
  std::vector<int8_t> segments;    // (R, T)
  std::vector<int32_t> lengths;    // (R): tokens before the padding, 1 … T
  std::vector<int32_t> counts;     // (R): targets, 0 … P
  std::vector<int32_t> positions;  // (R, P): of the targets, rising, below the length; then 0
  std::vector<int32_t> targets;    // (R, P): original ids; then 0
  std::vector<int8_t> next_sentence_labels;  // (R): 0 follows, 1 random
};

// Bytes of one row in NvidiaBertRows.
int64_t NvidiaBertRowBytes(int64_t sequence_length, int64_t predictions);

// Whether `path` is an HDF5 file that has this layout's /input_ids. False also when it cannot be
// read.
bool LooksLikeNvidiaBert(const std::string& path);

// Checks types and shapes; reads no values.
absl::StatusOr<NvidiaBertHeader> ReadNvidiaBertHeader(const std::string& path);

// Rows [begin, begin + count) of the file, which must lie in it (CHECK). Reads the header again: a
// file that is not what `header` says any more is an error.
absl::Status ReadNvidiaBertRows(const std::string& path, const NvidiaBertHeader& header,
                                const NvidiaBertLimits& limits, int64_t begin, int64_t count,
                                NvidiaBertRows* rows);

}  // namespace sluice
