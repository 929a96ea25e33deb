// The parts of a report's page. Each returns no markup where no run has what it shows.
#pragma once

#include <string>
#include <vector>

#include "report/report_run.h"

namespace sluice {

struct PageSection {
  std::string id, title;
  std::string markup;  // inside of the section, without the heading
};

// Curves over training: training, sink, outliers, quantization, norms, Bigram-Backcopy.
std::vector<PageSection> CurveSections(const std::vector<ReportRun>& runs);
// Maps layer x head over training, histograms, means by token class.
PageSection GateSection(const std::vector<ReportRun>& runs);
PageSection SinkMapSection(const std::vector<ReportRun>& runs);
PageSection AttentionMapSection(const std::vector<ReportRun>& runs);

PageSection SummarySection(const std::vector<ReportRun>& runs);
PageSection QuantizationSection(const std::vector<ReportRun>& runs);
PageSection TensorSection(const std::vector<ReportRun>& runs);  // newest activations and norms
PageSection AlarmSection(const std::vector<ReportRun>& runs);
PageSection ConfigSection(const std::vector<ReportRun>& runs);
PageSection NoteSection(const std::vector<ReportRun>& runs);

}  // namespace sluice
