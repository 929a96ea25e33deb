#include "telemetry/bigram_backcopy_check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <tuple>
#include <utility>

#include "telemetry/bigram_backcopy_seeds.h"

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

// Bigrams, then the sink, then copies.
struct Order {
  int64_t step;    // of the last of them, or of the first that is out of order; else the run's last
  bool is_so;      // all of them, in this order
  bool undecided;  // as far as they have come
};
Order OrderOfEvents(const SinkRun& run) {
  const int64_t bigram = FirstStep(run, "bigram_risk", [](double x) { return x < .15; });
  const int64_t sink = FirstStep(run, kAttention, [](double x) { return x > .1; });
  const int64_t copies = FirstStep(run, "backcopy_risk", [](double x) { return x < .1; });
  if (sink <= bigram && sink <= run.last_step()) return {sink, false, false};
  if (copies <= sink && copies <= run.last_step()) return {copies, false, false};
  if (copies <= run.last_step()) return {copies, true, false};
  return {run.last_step(), false, true};
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
    const Order order = OrderOfEvents(run_);
    AddAt("T8", "bigram < 0.15, then attention > 0.1, then backcopy < 0.1 (1: yes)", order.step,
          order.is_so ? 1 : 0, {.at_least = 1});
    verdicts_->back().early = order.undecided && run_.last_step() < kLate;
    Ablation();
    Field("T10", "Δlogit of trigger queries at 10,000 < 0", "delta_logit_type_trigger", kLate,
          {.at_most = -1e-12});
    Previous();
  }

  void QueryGated(bool gating) {
    gating_ = gating;
    Learns();
    Extreme("T3", "largest attention to <s> from 300 on <= 0.10",
            ExtremesOf(run_, kAttention, 300, kLate).highest, {.at_most = .10});
    Field("T4", "Δlogit at 10,000 <= 2", kDelta, kLate, {.at_most = 2});
    BesideVanilla("T4", "Δlogit / vanilla's at 10,000 <= 0.25", kDelta, std::divides<double>(),
                  {.at_most = .25});
    Add("T5", "‖W_O v_<s>‖ / its largest, at 10,000, >= 0.5", kLate, Drain(run_, kLate),
        {.at_least = .5});
    Extreme("T5", "smallest ‖W_O v_<s>‖ / its first >= 0.5",
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
    BesideVanilla("IGA", "attention to <s> - vanilla's at 10,000 <= -0.2", kAttention,
                  std::minus<double>(), {.at_most = -.2});
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
    Extreme("T3", "largest attention to <s> from 300 on <= 0.10",
            ExtremesOf(run_, kAttention, 300, kLate).highest, {.at_most = .10});
    Add("T5", "‖W_O v_<s>‖ at 10,000 / its first >= 1", kLate,
        run_.At(kOutput, kLate) / run_.At(kOutput, 0), {.at_least = 1});
    Ablation();
  }

  void Learns() {
    Field("T1", "backcopy risk at 10,000 <= 0.001", "backcopy_risk", kLate, {.at_most = 1e-3});
    BesideVanilla("T2", "bigram risk - vanilla's at 10,000 <= 0.005", "bigram_risk",
                  std::minus<double>(), {.at_most = .005});
  }

  void Ablation() {
    const std::string bigram = "no_attention.bigram_risk";
    const int64_t step = std::max<int64_t>(run_.LastWith(bigram, kLate), 0);
    AddAt("T9", "change of the bigram risk without attention < 0.01", step,
          std::abs(run_.At(bigram, step) - run_.At("bigram_risk", step)), {.at_most = .01});
    verdicts_->back().early = run_.last_step() < kLate;
    AddAt("T9", "backcopy risk without attention > 3", step,
          run_.At("no_attention.backcopy_risk", step), {.at_least = 3});
    verdicts_->back().early = run_.last_step() < kLate;
  }

  void Previous() {
    Field("T10", "attention of trigger queries to the token before, at 10,000, > 0.95",
          "attention_to_previous", kLate, {.at_least = .95});
  }

  // The figure of this run and the lowest of the seeds of vanilla, put together: at the last step
  // that this run and one of them have, over all that have it. The lowest is the strictest: all
  // seeds must pass. NaN: there is none.
  void BesideVanilla(const std::string& check, const std::string& what, const std::string& field,
                     const std::function<double(double, double)>& compare, const Bound& bound) {
    int64_t longest = 0;
    for (const SinkRun* run : Vanillas()) longest = std::max(longest, run->last_step());
    const int64_t step = std::min({kLate, run_.last_step(), longest});
    double figure = kNone;
    for (const SinkRun* run : Vanillas()) {
      if (run->last_step() < step) continue;
      const double value = run->At(field, step);
      figure = std::isnan(figure) ? value : std::min(figure, value);
    }
    AddAt(check, what, step, compare(run_.At(field, step), figure), bound);
  }
  std::vector<const SinkRun*> Vanillas() const {
    std::vector<const SinkRun*> vanillas;
    for (const SinkRun& run : runs_) {
      if (run.arm == "vanilla" && run.Comparable(run_)) vanillas.push_back(&run);
    }
    return vanillas;
  }

  void Field(const std::string& check, const std::string& what, const std::string& field,
             int64_t step, const Bound& bound) {
    Add(check, what, step, run_.At(field, step), bound);
  }
  // A largest or smallest figure up to 10,000, which more updates do not mend.
  void Extreme(const std::string& check, const std::string& what, double figure,
               const Bound& bound) {
    Add(check, what, kLate, figure, bound);
    Verdict& verdict = verdicts_->back();
    verdict.early = verdict.early && (verdict.passed || std::isnan(verdict.figure));
  }
  void Add(const std::string& check, const std::string& what, int64_t step, double figure,
           const Bound& bound) {
    AddAt(check, what, std::min(step, run_.last_step()), figure, bound);
    verdicts_->back().early = run_.last_step() < step;
  }
  // A threshold for 10,000, by a figure of `step`.
  void AddAt(const std::string& check, const std::string& what, int64_t step, double figure,
             const Bound& bound) {
    verdicts_->push_back({.check = check,
                          .arm = run_.arm,
                          .what = what,
                          .seed = run_.seed,
                          .step = step,
                          .figure = std::isfinite(figure) ? figure : kNone,
                          .passed = std::isfinite(figure) && bound.Holds(figure),
                          .gating = gating_,
                          .bounded = bound.at_least > -kInfinity || bound.at_most < kInfinity,
                          .early = step < kLate});
  }

  const SinkRun& run_;
  const std::vector<SinkRun>& runs_;
  std::vector<Verdict>* verdicts_;
  bool gating_ = true;
};

}  // namespace

double SinkRun::At(const std::string& field, int64_t step) const {
  const SinkRecord* last = nullptr;
  for (const SinkRecord& record : records) {
    if (record.step <= step) last = &record;
  }
  if (last == nullptr) return kNone;
  const auto found = last->values.find(field);
  return found == last->values.end() ? kNone : found->second;
}

int64_t SinkRun::LastWith(const std::string& field, int64_t step) const {
  int64_t last = -1;
  for (const SinkRecord& record : records) {
    if (record.step <= step && record.values.contains(field)) last = record.step;
  }
  return last;
}

bool SinkRun::Comparable(const SinkRun& other) const {
  const auto task = [](const SinkRun& run) {
    return std::tie(run.table, run.triggers, run.batch, run.hidden_size, run.length);
  };
  return task(*this) == task(other);
}

std::vector<Verdict> CheckBigramBackcopy(const std::vector<SinkRun>& runs) {
  std::vector<Verdict> verdicts;
  for (const SinkRun& run : runs) Judge(run, runs, &verdicts).JudgeRun();
  JudgeSeeds(runs, &verdicts);
  std::stable_sort(verdicts.begin(), verdicts.end(), [](const Verdict& a, const Verdict& b) {
    return std::pair(a.gating ? 0 : 1, a.arm) < std::pair(b.gating ? 0 : 1, b.arm);
  });
  return verdicts;
}

bool IsFailure(const Verdict& verdict) {
  return verdict.gating && verdict.bounded && !verdict.early && !verdict.passed;
}

}  // namespace sluice
