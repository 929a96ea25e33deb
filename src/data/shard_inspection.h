// What `inspect` and `verify` show of token shards, for both programs that have such a command.
//
//   ASSIGN_OR_RETURN(const ShardInspection inspection, InspectShards("data/wiki", {}));
//   std::cout << InspectionText(inspection);        // or InspectionJson(inspection).dump(2)
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/manifest.h"
#include "nlohmann/json.hpp"

namespace sluice {

struct InspectionOptions {
  int64_t samples = 3;         // documents whose beginning is shown, evenly spread
  int64_t sample_tokens = 64;  // of each, at most
};

struct InspectionSample {
  int64_t shard = 0;
  int64_t document = 0;  // in the shard
  int64_t tokens = 0;    // of the whole document
  std::string text;      // decoded beginning; ids in <…> when there is no vocabulary beside it
};

// Documents by length: bin k counts those of [2^k, 2^(k+1)) tokens.
using LengthHistogram = std::array<int64_t, 40>;

struct ShardInspection {
  Manifest manifest;  // made up from the header when a single shard is inspected (path empty)
  std::string path;   // as it was given
  std::vector<ShardHeader> headers;
  LengthHistogram document_lengths{};
  bool has_vocabulary = false;
  std::vector<InspectionSample> samples;
};

// `path` is a shard, a manifest or its folder; with a manifest all its shards are opened and
// checked against it. Reads offsets and a few tokens. DataError as from OpenShards.
absl::StatusOr<ShardInspection> InspectShards(const std::string& path,
                                              const InspectionOptions& options);

// For people: header, counts, a drawn histogram, samples. For programs: the same as JSON.
std::string InspectionText(const ShardInspection& inspection);
nlohmann::json InspectionJson(const ShardInspection& inspection);

struct VerificationSummary {
  int64_t shards = 0;
  int64_t documents = 0;
  int64_t tokens = 0;
};

// Reads every byte: ShardReader::Verify of each shard, and the vocabulary's sha256 when there is a
// manifest. DataError for the first thing that is wrong.
absl::StatusOr<VerificationSummary> VerifyShards(const std::string& path);

}  // namespace sluice
