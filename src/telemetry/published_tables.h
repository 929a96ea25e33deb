// What Tables 1 and 2 of arXiv 2510.09017 print.
#pragma once

#include <string>
#include <vector>

namespace sluice {

// A line of both tables. The paper has one learnable sink, and says neither which nor which site of
// the gate.
struct PublishedRow {
  const char *architecture, *method;
  std::vector<std::string> table;       // perplexity, norm, kurtosis: "15.49 ± 0.00"
  std::vector<std::string> int8_table;  // perplexity, difference, norm, kurtosis
};
const std::vector<PublishedRow>& PublishedRows();

}  // namespace sluice
