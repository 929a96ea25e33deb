// What makes a report's page look and react; it is whole without the script.
#pragma once

#include <string>

namespace sluice {

// Style sheet for a page of `runs` runs: light, dark, narrow and printed.
std::string PageStyle(int runs);

// Toggles for all runs, values under the pointer (and with the arrow keys), tables copied as CSV.
const char* PageScript();

}  // namespace sluice
