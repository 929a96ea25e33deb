// docs/config_reference.md, from the field table.
#pragma once

#include <string>

namespace sluice {

// The whole document, Markdown. The tool sluice_config_reference prints it.
std::string GenerateConfigReference();

}  // namespace sluice
