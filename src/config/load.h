// From YAML and command-line overrides to a checked RunConfig.
//
//   ASSIGN_OR_RETURN(RunConfig config,
//                    LoadRunConfig("configs/toy/bert_vga.yaml", {"training.steps=200"}));
//
// A file is one mapping with the sections of run_config.h, and may begin with
// `extends: other.yaml` (relative to the file): the other file is read first, and what this file
// says wins. Overrides come last, in order. Nothing is guessed: unknown and repeated keys, values
// of the wrong type or out of range, keys that would be ignored and settings that contradict each
// other are all errors, up to 20 in one message, each with file and line (or the override's
// number), the value, and what is expected.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"

namespace sluice {

enum class ConfigUse {
  kTraining,    // the keys that a training needs must be there: data.train
  kInspection,  // they may be missing
};

// `overrides` are key.path=value; lists as [a, b]. Errors carry ExitCode::kUsage.
// An empty `name` becomes the file's name without its ending.
absl::StatusOr<RunConfig> LoadRunConfig(const std::string& path,
                                        const std::vector<std::string>& overrides = {},
                                        ConfigUse use = ConfigUse::kTraining);

// The same for text that is no file of its own; `name` stands for it in errors.
absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text, const std::string& name,
                                         ConfigUse use = ConfigUse::kTraining);

}  // namespace sluice
