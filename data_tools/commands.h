// The subcommands of sluice-data: their options, and what each does with them.
#pragma once

#include <functional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace sluice {

// Adds learn-vocabulary, prepare, inspect and verify. The returned function, called after parsing,
// runs the one that was given and prints its result to stdout.
std::function<absl::Status()> AddDataCommands(CLI::App* app);

}  // namespace sluice
