// Ranks that come to one mind: how every Communicator with more than one rank implements Agree, on
// its own collectives, and what rank 0 says.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace sluice {

// Communicator::Agree for `comm`. One max of one integer when all are OK; two broadcasts more when
// one is not. Returns the collectives' own error when they fail.
absl::Status AgreeByCollectives(Communicator& comm, const absl::Status& status);

// The text that rank 0 brings, on every rank; its error likewise, as Agree gives it. What other
// ranks bring does not count. Collective.
absl::StatusOr<std::string> TextOfRankZero(Communicator& comm,
                                           const absl::StatusOr<std::string>& text);

}  // namespace sluice
