// What `inspect` and `verify` show of files of NVIDIA's BERT layout.
//
//   if (NamesNvidiaBert(path)) {
//     ASSIGN_OR_RETURN(const NvidiaBertInspection inspection, InspectNvidiaBert(path, 3));
//     std::cout << InspectionText(inspection);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/nvidia_bert_file.h"
#include "nlohmann/json.hpp"

namespace sluice {

// Whether `path` is such a file, or a folder or list whose first file is one. A folder with a
// manifest.yaml is a data set of shards.
bool NamesNvidiaBert(const std::string& path);

struct NvidiaBertSample {
  int64_t file = 0;
  int64_t row = 0;  // in the file
  int32_t length = 0, targets = 0;
  int32_t next_sentence_label = 0;
  std::vector<int32_t> ids;  // all of its tokens but the padding
};

struct NvidiaBertInspection {
  std::string path;  // as it was given
  std::vector<std::string> files;
  std::vector<NvidiaBertHeader> headers;
  std::vector<int64_t> file_bytes;
  std::vector<NvidiaBertSample> samples;

  int64_t rows() const;
};

// Opens every file, and reads `samples` rows, evenly spread over the files. DataError as from
// NvidiaBertStore::Open.
absl::StatusOr<NvidiaBertInspection> InspectNvidiaBert(const std::string& path, int64_t samples);

std::string InspectionText(const NvidiaBertInspection& inspection);
nlohmann::json InspectionJson(const NvidiaBertInspection& inspection);

struct NvidiaBertVerification {
  int64_t files = 0, rows = 0;
  int64_t tokens = 0;  // without padding
  int64_t targets = 0;
  int32_t largest_id = 0;  // model.vocab_size must be above
};

// Reads and checks every value. DataError for the first that is wrong.
absl::StatusOr<NvidiaBertVerification> VerifyNvidiaBert(const std::string& path);

}  // namespace sluice
