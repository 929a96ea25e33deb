#include "telemetry/bigram_backcopy_check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace sluice {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kEarly = 1000, kLate = 10000;  // steps of the thresholds

constexpr const char* kAttention = "attention_to_start";
constexpr const char* kDelta = "delta_logit_type";
constexpr const char* kOutput = "output_value_norm_start";

struct Extremes {
  double lowest = kInfinity, highest = -kInfinity;
};
Extremes ExtremesOf(const SinkRun& run, const std::string& field, int64_t from, int64_t to) {
  Extremes extremes;
  for (const SinkRecord& record : run.records) {
    const auto found = record.values.find(field);
    if (record.step < from || record.step > to || found == record.values.end()) continue;
    extremes.lowest = std::min(extremes.lowest, found->second);
    extremes.highest = std::max(extremes.highest, found->second);
  }
  return extremes;
}

// ‖W_O v_<s>‖ over its largest value so far.
double Drain(const SinkRun& run, int64_t step) {
  return run.At(kOutput, step) / ExtremesOf(run, kOutput, 0, step).highest;
}

struct Line {
  double slope = kNone, explained = kNone;  // R²
};
// Least squares of Δlogit over ln step, 1,000 to 10,000, over records whose steps 1,000 divides.
Line GrowthOfDelta(const SinkRun& run) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  for (const SinkRecord& record : run.records) {
    if (record.step < kEarly || record.step > kLate || record.step % kEarly != 0) continue;
    const double u = std::log(static_cast<double>(record.step));
    const double v = run.At(kDelta, record.step);
    n += 1, x += u, y += v, xx += u * u, xy += u * v, yy += v * v;
  }
  if (n < 3) return {};
  const double across = xy - x * y / n, along = xx - x * x / n, total = yy - y * y / n;
  return {.slope = across / along, .explained = across * across / (along * total)};
}

int64_t FirstStep(const SinkRun& run, const std::string& field,
                  const std::function<bool(double)>& reached) {
  for (const SinkRecord& record : run.records) {
    const auto found = record.values.find(field);
    if (found != record.values.end() && reached(found->second)) return record.step;
  }
  return std::numeric_limits<int64_t>::max();
}

// 1: bigrams, then the sink, then copies; 0: another order, or not all of them.
double OrderOfEvents(const SinkRun& run) {
  const int64_t bigram = FirstStep(run, "bigram_risk", [](double x) { return x < .15; });
  const int64_t sink = FirstStep(run, kAttention, [](double x) { return x > .1; });
  const int64_t copies = FirstStep(run, "backcopy_risk", [](double x) { return x < .1; });
  return bigram < sink && sink < copies && copies <= run.last_step() ? 1 : 0;
}

struct Bound {
  double at_least = -kInfinity, at_most = kInfinity;
  bool Holds(double value) const { return value >= at_least && value <= at_most; }
};

// Collects verdicts on one run.
class Judge {
 public:
  Judge(const SinkRun& run, const std::vector<SinkRun>& runs, std::vector<Verdict>* verdicts)
      : run_(run), runs_(runs), verdicts_(verdicts) {}

  void JudgeRun() {
    if (run_.arm == "vanilla") return Vanilla();
    if (run_.arm == "vga") return QueryGated(/*gating=*/true);
    if (run_.arm == "iga") return Iga();
    if (run_.arm == "vga_key" || run_.arm == "iga_key") return KeyGated();
    if (run_.arm == "relu") return Rectified();
  }

 private:
  void Vanilla() {
    Field("T1", "backcopy risk at 1,000 <= 0.05", "backcopy_risk", kEarly, {.at_most = .05});
    Field("T1", "backcopy risk at 10,000 <= 0.001", "backcopy_risk", kLate, {.at_most = 1e-3});
    Field("T2", "bigram risk at 10,000 <= 0.015", "bigram_risk", kLate, {.at_most = .015});
    Field("T3", "attention to <s> at 1,000 >= 0.55", kAttention, kEarly, {.at_least = .55});
    Field("T3", "attention to <s> at 10,000 >= 0.65", kAttention, kLate, {.at_least = .65});
    Field("T4", "Δlogit at 1,000 >= 5", kDelta, kEarly, {.at_least = 5});
    Field("T4", "Δlogit at 10,000 >= 8", kDelta, kLate, {.at_least = 8});
    Add("T5", "‖W_O v_<s>‖ / its largest, at 1,000, <= 0.55", kEarly, Drain(run_, kEarly),
        {.at_most = .55});
    Add("T5", "‖W_O v_<s>‖ / its largest, at 10,000, <= 0.30", kLate, Drain(run_, kLate),
        {.at_most = .30});
    Field("T6", "‖W_O v_<s>‖ / mean of the others at 10,000 <= 0.20", "value_ratio", kLate,
          {.at_most = .20});
    const Line growth = GrowthOfDelta(run_);
    Add("T7", "R² of Δlogit over ln step, 1,000 to 10,000, >= 0.9", kLate, growth.explained,
        {.at_least = .9});
    Add("T7", "its slope > 1", kLate, growth.slope, {.at_least = 1});
    Add("T8", "bigram < 0.15, then attention > 0.1, then backcopy < 0.1 (1: yes)", kEarly,
        OrderOfEvents(run_), {.at_least = 1});
    Ablation();
    Field("T10", "Δlogit of trigger queries at 10,000 < 0", "delta_logit_type_trigger", kLate,
          {.at_most = -1e-12});
    Previous();
  }

  void QueryGated(bool gating) {
    gating_ = gating;
    Learns();
    Add("T3", "largest attention to <s> from 300 on <= 0.10", kLate,
        ExtremesOf(run_, kAttention, 300, kLate).highest, {.at_most = .10});
    Field("T4", "Δlogit at 10,000 <= 2", kDelta, kLate, {.at_most = 2});
    Add("T4", "Δlogit / vanilla's at 10,000 <= 0.25", kLate,
        run_.At(kDelta, kLate) / OfVanilla(kDelta, /*highest=*/false), {.at_most = .25});
    Add("T5", "‖W_O v_<s>‖ / its largest, at 10,000, >= 0.5", kLate, Drain(run_, kLate),
        {.at_least = .5});
    Add("T5", "smallest ‖W_O v_<s>‖ / its first >= 0.5", kLate,
        ExtremesOf(run_, kOutput, 0, kLate).lowest / run_.At(kOutput, 0), {.at_least = .5});
    Field("T6", "‖W_O v_<s>‖ / mean of the others at 10,000 >= 0.40", "value_ratio", kLate,
          {.at_least = .40});
    Add("T7", "size of the slope of Δlogit over ln step < 0.5", kLate,
        std::abs(GrowthOfDelta(run_).slope), {.at_most = .5});
    Ablation();
    Previous();
    const double open = run_.At("gate_trigger", kLate), closed = run_.At("gate_non_trigger", kLate);
    Add("T11", "mean gate of other queries at 10,000 <= 0.15", kLate, closed, {.at_most = .15});
    Add("T11", "mean gate of trigger queries at 10,000 >= 0.5", kLate, open, {.at_least = .5});
    Add("T11", "their ratio >= 5", kLate, open / closed, {.at_least = 5});
  }

  void Iga() {
    QueryGated(/*gating=*/false);
    const double vanilla = OfVanilla(kAttention, /*highest=*/false);
    Add("IGA", "attention to <s> - vanilla's at 10,000 <= -0.2", kLate,
        run_.At(kAttention, kLate) - vanilla, {.at_most = -.2});
  }

  // Expected: the sink stays, and either its gate closes or its value drains.
  void KeyGated() {
    gating_ = false;
    Learns();
    Field("key", "attention to <s> at 10,000 >= 0.6", kAttention, kLate, {.at_least = .6});
    Field("key", "gate of <s> at 10,000", "gate_start", kLate, {});
    Field("key", "‖g v_<s>‖ at 10,000", "gated_value_norm_start", kLate, {});
    Add("key", "‖W_O v_<s>‖ / its largest, at 10,000", kLate, Drain(run_, kLate), {});
  }

  // Expected: neither sink nor drain. Published are at most 0.0055 of attention, which has no unit
  // here, and a growing ‖W_O v_<s>‖.
  void Rectified() {
    gating_ = false;
    Learns();
    Add("T3", "largest attention to <s> from 300 on <= 0.10", kLate,
        ExtremesOf(run_, kAttention, 300, kLate).highest, {.at_most = .10});
    Add("T5", "‖W_O v_<s>‖ at 10,000 / its first >= 1", kLate,
        run_.At(kOutput, kLate) / run_.At(kOutput, 0), {.at_least = 1});
    Ablation();
  }

  void Learns() {
    Field("T1", "backcopy risk at 10,000 <= 0.001", "backcopy_risk", kLate, {.at_most = 1e-3});
    Add("T2", "bigram risk - vanilla's at 10,000 <= 0.005", kLate,
        run_.At("bigram_risk", kLate) - OfVanilla("bigram_risk", /*highest=*/true),
        {.at_most = .005});
  }

  void Ablation() {
    Add("T9", "change of the bigram risk without attention < 0.01", kLate,
        std::abs(run_.At("no_attention.bigram_risk", kLate) - run_.At("bigram_risk", kLate)),
        {.at_most = .01});
    Field("T9", "backcopy risk without attention > 3", "no_attention.backcopy_risk", kLate,
          {.at_least = 3});
  }

  void Previous() {
    Field("T10", "attention of trigger queries to the token before, at 10,000, > 0.95",
          "attention_to_previous", kLate, {.at_least = .95});
  }

  // At this run's step, over seeds of vanilla with the same batch and length; NaN: there is none.
  double OfVanilla(const std::string& field, bool highest) const {
    const int64_t step = std::min(kLate, run_.last_step());
    double figure = kNone;
    for (const SinkRun& run : runs_) {
      if (run.arm != "vanilla" || run.batch != run_.batch || run.length != run_.length) continue;
      const double value = run.At(field, step);
      figure = std::isnan(figure) ? value
               : highest          ? std::max(figure, value)
                                  : std::min(figure, value);
    }
    return figure;
  }

  void Field(const std::string& check, const std::string& what, const std::string& field,
             int64_t step, const Bound& bound) {
    Add(check, what, step, run_.At(field, step), bound);
  }
  void Add(const std::string& check, const std::string& what, int64_t step, double figure,
           const Bound& bound) {
    verdicts_->push_back({.check = check,
                          .arm = run_.arm,
                          .what = what,
                          .seed = run_.seed,
                          .step = std::min(step, run_.last_step()),
                          .figure = std::isfinite(figure) ? figure : kNone,
                          .passed = std::isfinite(figure) && bound.Holds(figure),
                          .gating = gating_,
                          .bounded = bound.at_least > -kInfinity || bound.at_most < kInfinity,
                          .early = run_.last_step() < step});
  }

  const SinkRun& run_;
  const std::vector<SinkRun>& runs_;
  std::vector<Verdict>* verdicts_;
  bool gating_ = true;
};

// T12: over all seeds of both arms, at the last step that all of them have.
void Separation(const std::vector<SinkRun>& runs, std::vector<Verdict>* verdicts) {
  int64_t step = kLate;
  bool vanilla = false, gated = false;
  for (const SinkRun& run : runs) {
    if (run.arm != "vanilla" && run.arm != "vga") continue;
    (run.arm == "vga" ? gated : vanilla) = true;
    step = std::min(step, run.last_step());
  }
  if (!vanilla || !gated) return;
  double least = kInfinity, most = -kInfinity;
  for (const SinkRun& run : runs) {
    if (run.arm == "vanilla") least = std::min(least, run.At(kAttention, step));
    if (run.arm == "vga") most = std::max(most, run.At(kAttention, step));
  }
  verdicts->push_back({.check = "T12",
                       .arm = "vanilla - vga",
                       .what = "least attention to <s> of vanilla - most of VGA >= 0.5",
                       .step = step,
                       .figure = least - most,
                       .passed = least - most >= .5,
                       .early = step < kLate});
}

// The paper's order of attention to <s>: vanilla > IGA >= VGA. Means over seeds, each run's end.
void PaperOrder(const std::vector<SinkRun>& runs, std::vector<Verdict>* verdicts) {
  const auto mean = [&runs](const std::string& arm) {
    double sum = 0, count = 0;
    for (const SinkRun& run : runs) {
      if (run.arm != arm) continue;
      sum += run.At(kAttention, std::min(kLate, run.last_step()));
      count += 1;
    }
    return sum / count;
  };
  const double vanilla = mean("vanilla"), iga = mean("iga"), vga = mean("vga");
  if (std::isnan(vanilla + iga + vga)) return;
  verdicts->push_back({.check = "order",
                       .arm = "vanilla, iga, vga",
                       .what = "attention to <s>: vanilla > IGA >= VGA; figure: IGA - VGA",
                       .step = kLate,
                       .figure = iga - vga,
                       .passed = vanilla > iga && iga >= vga,
                       .gating = false});
}

}  // namespace

double SinkRun::At(const std::string& field, int64_t step) const {
  double figure = kNone;
  for (const SinkRecord& record : records) {
    if (record.step > step) break;
    const auto found = record.values.find(field);
    if (found != record.values.end()) figure = found->second;
  }
  return figure;
}

std::vector<Verdict> CheckBigramBackcopy(const std::vector<SinkRun>& runs) {
  std::vector<Verdict> verdicts;
  for (const SinkRun& run : runs) Judge(run, runs, &verdicts).JudgeRun();
  Separation(runs, &verdicts);
  PaperOrder(runs, &verdicts);
  std::stable_sort(verdicts.begin(), verdicts.end(), [](const Verdict& a, const Verdict& b) {
    return std::pair(a.gating ? 0 : 1, a.arm) < std::pair(b.gating ? 0 : 1, b.arm);
  });
  return verdicts;
}

bool IsFailure(const Verdict& verdict) {
  return verdict.gating && verdict.bounded && !verdict.early && !verdict.passed;
}

}  // namespace sluice
