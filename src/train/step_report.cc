#include "train/step_report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice {

std::string FormatDuration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return absl::StrFormat("%ds", s);
  if (s < 3600) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  if (s < 86400) return absl::StrFormat("%dh%02dm", s / 3600, s % 3600 / 60);
  return absl::StrFormat("%dd%02dh", s / 86400, s % 86400 / 3600);
}

namespace {

// An update without a target has no loss: it has changed nothing but by weight decay.
std::string LossText(const StepReport& report, int digits) {
  return report.targets == 0 ? "none (no targets)" : absl::StrFormat("%.*f", digits, report.loss);
}

}  // namespace

std::string StepLine(const StepReport& report) {
  const int width = static_cast<int>(absl::StrCat(report.total_steps).size());
  std::string line =
      absl::StrFormat("step %*d/%d  loss %s  lr %.2e  grad %.3f  %.0f tok/s", width, report.step,
                      report.total_steps, LossText(report, 4), report.learning_rate,
                      report.gradient_norm, report.tokens_per_s);
  if (report.matmul_share > 0) {
    absl::StrAppendFormat(&line, "  %.0f %% of matmul", 100 * report.matmul_share);
  }
  if (report.gate_mean >= 0) absl::StrAppendFormat(&line, "  gate %.3f", report.gate_mean);
  if (report.loss_scale > 0) {
    absl::StrAppendFormat(&line, "  scale %.15g", report.loss_scale);
    if (report.skipped_updates > 0) absl::StrAppend(&line, "  skipped ", report.skipped_updates);
  }
  if (report.data_wait_s > 0.02 * report.seconds) {
    absl::StrAppendFormat(&line, "  waited %.2fs for data", report.data_wait_s);
  }
  absl::StrAppend(&line, "  eta ", FormatDuration(report.eta_s));
  return line;
}

MetricFields StepFields(const StepReport& report) {
  MetricFields fields = {{"step", report.step},
                         {"loss", report.loss},
                         {"accuracy", report.accuracy},
                         {"learning_rate", report.learning_rate},
                         {"gradient_norm", report.gradient_norm},
                         {"targets", report.targets},
                         {"step_s", report.seconds},
                         {"tokens_per_s", report.tokens_per_s},
                         {"matmul_share", report.matmul_share},
                         {"data_wait_s", report.data_wait_s}};
  if (report.gate_mean >= 0) fields.emplace_back("gate_mean", report.gate_mean);
  if (report.loss_scale > 0) {
    fields.emplace_back("loss_scale", report.loss_scale);
    fields.emplace_back("skipped_updates", report.skipped_updates);
  }
  return fields;
}

std::string ProgressBar(const StepReport& report) {
  constexpr int kWidth = 30;
  const double done = std::clamp(static_cast<double>(report.step) /
                                     static_cast<double>(std::max<int64_t>(1, report.total_steps)),
                                 0.0, 1.0);
  const int filled = static_cast<int>(done * kWidth);
  return absl::StrFormat("[%s%s%s] %3.0f %%  loss %s  eta %s", std::string(filled, '='),
                         filled < kWidth ? ">" : "",
                         std::string(std::max(0, kWidth - filled - 1), ' '), 100 * done,
                         LossText(report, 3), FormatDuration(report.eta_s));
}

}  // namespace sluice
