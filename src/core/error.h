// Errors of the outside world (files, YAML, flags, peers, memory), each with the exit code that a
// script will see.
//
//   return DataError("shard is truncated", path, absl::StrCat("expected ", expected, " tokens,
//   found ", found)); → "shard is truncated: data/train_00003.h5: expected 1048576 tokens, found 7"
//
// Our own mistakes are not errors but CHECKs (core/check.h).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

// The contract with scripts; docs/architecture.md#errors. Values are fixed.
enum class ExitCode {
  kDone = 0,
  kUsage = 1,       // command line or configuration
  kData = 2,        // text, vocabulary, shard or manifest
  kCheckpoint = 3,  // checkpoint or run folder
  kDevice = 4,      // device, memory, communication, file system
  kDiverged = 5,    // loss or gradients stopped being finite
  kResumable = 75,  // stopped on request; the same command goes on
};

// Each joins its non-empty parts with ": " (what is wrong, where, values) and remembers its exit
// code.
absl::Status UsageError(absl::string_view what, absl::string_view where = "",
                        absl::string_view values = "");
absl::Status DataError(absl::string_view what, absl::string_view where = "",
                       absl::string_view values = "");
absl::Status CheckpointError(absl::string_view what, absl::string_view where = "",
                             absl::string_view values = "");
absl::Status DeviceError(absl::string_view what, absl::string_view where = "",
                         absl::string_view values = "");
absl::Status DivergedError(absl::string_view what, absl::string_view where = "",
                           absl::string_view values = "");
absl::Status StoppedOnRequest(absl::string_view what);

// The code that `status` carries; kDone when ok, kDevice when it carries none.
ExitCode ExitCodeOf(const absl::Status& status);

// A copy of `status` with "`context`: " put before its message; keeps the exit code.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace sluice
