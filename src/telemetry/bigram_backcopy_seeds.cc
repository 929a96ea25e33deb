#include "telemetry/bigram_backcopy_seeds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace sluice {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kLate = 10000;  // step of the thresholds

constexpr const char* kAttention = "attention_to_start";
constexpr const char* kOutput = "output_value_norm_start";

// Runs of one task, batch, width and length.
using Group = std::vector<const SinkRun*>;

std::vector<Group> ComparableRuns(const std::vector<SinkRun>& runs) {
  std::vector<Group> groups;
  for (const SinkRun& run : runs) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&run](const Group& other) {
      return other.front()->Comparable(run);
    });
    if (group != groups.end()) {
      group->push_back(&run);
    } else {
      groups.push_back({&run});
    }
  }
  return groups;
}

// The last step up to 10,000 that all runs of the arms have; -1: an arm has no run.
int64_t CommonStep(const Group& runs, const std::vector<std::string>& arms) {
  int64_t step = kLate;
  for (const std::string& arm : arms) {
    bool found = false;
    for (const SinkRun* run : runs) {
      if (run->arm != arm) continue;
      found = true;
      step = std::min(step, run->last_step());
    }
    if (!found) return -1;
  }
  return step;
}

// T12: over all seeds of both arms, at the last step that all of them have.
void Separation(const Group& runs, std::vector<Verdict>* verdicts) {
  const int64_t step = CommonStep(runs, {"vanilla", "vga"});
  if (step < 0) return;
  double least = kInfinity, most = -kInfinity;
  bool measured = true;
  for (const SinkRun* run : runs) {
    const double attention = run->At(kAttention, step);
    if (run->arm == "vanilla") least = std::min(least, attention);
    if (run->arm == "vga") most = std::max(most, attention);
    if (run->arm == "vanilla" || run->arm == "vga") measured = measured && !std::isnan(attention);
  }
  const double figure = measured ? least - most : kNone;
  verdicts->push_back({.check = "T12",
                       .arm = "vanilla - vga",
                       .what = "least attention to <s> of vanilla - most of VGA >= 0.5",
                       .of_all_seeds = true,
                       .step = step,
                       .figure = figure,
                       .passed = figure >= .5,
                       .early = step < kLate});
}

// The paper's orders: attention to <s> vanilla > IGA >= VGA, norm of its value vanilla < IGA <=
// VGA. Means over seeds, at the last step that all have.
void PaperOrders(const Group& runs, std::vector<Verdict>* verdicts) {
  const int64_t step = CommonStep(runs, {"vanilla", "iga", "vga"});
  if (step < 0) return;
  const auto add = [&](const std::string& what, const std::string& field, double sign) {
    const auto mean = [&](const std::string& arm) {
      double sum = 0, count = 0;
      for (const SinkRun* run : runs) {
        if (run->arm != arm) continue;
        sum += run->At(field, step);
        count += 1;
      }
      return sign * sum / count;
    };
    const double vanilla = mean("vanilla"), iga = mean("iga"), vga = mean("vga");
    verdicts->push_back({.check = "order",
                         .arm = "vanilla, iga, vga",
                         .what = what,
                         .of_all_seeds = true,
                         .step = step,
                         .figure = std::isnan(vanilla) ? kNone : sign * (iga - vga),
                         .passed = vanilla > iga && iga >= vga,
                         .gating = false,
                         .early = step < kLate});
  };
  add("attention to <s>: vanilla > IGA >= VGA; figure: IGA - VGA", kAttention, 1);
  add("‖W_O v_<s>‖: vanilla < IGA <= VGA; figure: IGA - VGA", kOutput, -1);
}

}  // namespace

void JudgeSeeds(const std::vector<SinkRun>& runs, std::vector<Verdict>* verdicts) {
  for (const Group& group : ComparableRuns(runs)) {
    Separation(group, verdicts);
    PaperOrders(group, verdicts);
  }
}

}  // namespace sluice
