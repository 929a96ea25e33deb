// Macros that pass a Status on. Debian's Abseil (20220623) has no status_macros.h; these two are
// all that is needed.
//
//   RETURN_IF_ERROR(reader.Open(path));
//   ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(path));
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define SLUICE_STATUS_CONCAT_(a, b) a##b
#define SLUICE_STATUS_CONCAT(a, b) SLUICE_STATUS_CONCAT_(a, b)

#define RETURN_IF_ERROR(expression)                                                           \
  do {                                                                                        \
    if (absl::Status sluice_status = (expression); !sluice_status.ok()) return sluice_status; \
  } while (false)

#define ASSIGN_OR_RETURN(target, expression) \
  SLUICE_ASSIGN_OR_RETURN(SLUICE_STATUS_CONCAT(sluice_status_or_, __LINE__), target, expression)

#define SLUICE_ASSIGN_OR_RETURN(status_or, target, expression) \
  auto status_or = (expression);                               \
  if (!status_or.ok()) return std::move(status_or).status();   \
  target = *std::move(status_or)
