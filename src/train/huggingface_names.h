// What Hugging Face's files call a model's tensors. Parameters have these names already; files may
// lack the base model's prefix, use names of older versions, and hold more than the parameters.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/run_config.h"

namespace sluice {

// Which tensor of a file is what, by the file's names.
struct HuggingFaceTensors {
  struct Copy {
    std::string name;       // in the file
    std::string parameter;  // whose values it must have, bit for bit
  };
  std::map<std::string, std::string> file_name;  // of each parameter that the file has
  std::vector<Copy> copies;                      // of tied parameters
  std::vector<std::string> left_out;             // heads that the configuration does not have
  std::vector<std::string> unknown;
};

// Whether transformers has no place for a parameter: those of the attention variants, which are
// gates, sinks and registers.
bool IsOwnParameter(const std::string& parameter);

// Sorts a file's names. CheckpointError when two of them are the same parameter.
absl::StatusOr<HuggingFaceTensors> SortTensorNames(const std::vector<std::string>& file_names,
                                                   const std::vector<std::string>& parameters,
                                                   const ModelConfig& config,
                                                   const std::string& path);

}  // namespace sluice
