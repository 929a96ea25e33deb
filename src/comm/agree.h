// How every Communicator with more than one rank implements Agree: on its own collectives.
#pragma once

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace sluice {

// Communicator::Agree for `comm`. One max of one integer when all are OK; two broadcasts more when
// one is not. Returns the collectives' own error when they fail.
absl::Status AgreeByCollectives(Communicator& comm, const absl::Status& status);

}  // namespace sluice
