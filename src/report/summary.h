// The table at the top of a report: one row a run, and a row of mean and standard deviation for
// runs that differ in nothing but the seed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/report_run.h"

namespace sluice {

struct SummaryColumn {
  std::string title;
  std::string source;  // where the figures come from, for people
};

struct SummaryRow {
  std::string name, variant, seed;
  int64_t step = 0, planned_steps = 0;  // 0: not known
  int style = -1;                       // of the run; -1: of several
  int64_t runs = 1;
  // One a column. Of several runs the mean, over those that have the figure, and the standard
  // deviation (divisor n - 1; absent where fewer than two have it).
  std::vector<std::optional<double>> values, deviations;
};

struct Summary {
  std::vector<SummaryColumn> columns;  // only such of which some run has a figure
  std::vector<SummaryRow> rows;        // runs in their order, then groups
};

Summary Summarize(const std::vector<ReportRun>& runs);

// Of what is in every head of a record: the mean over layers and heads, NaN where nothing is.
double MeanOverHeads(const HeadRecord& record);
double LargestOverHeads(const HeadRecord& record);

// Layer L/2 of the bigram_backcopy records, whose series are "bigram_backcopy.layer_N.FIELD": as
// docs/bigram_backcopy.md has it. 0 when the run has none.
int64_t MiddleLayer(const ReportRun& run);

struct MeanAndDeviation {
  std::optional<double> mean, deviation;
};
MeanAndDeviation Spread(const std::vector<double>& values);

}  // namespace sluice
