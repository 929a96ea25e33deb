#include "telemetry/chart_scale.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sluice {
namespace {

constexpr double kStepOffset = 20;
constexpr double kTolerance = 1e-9;  // of a tick's distance: a tick at the end of the range counts

std::vector<double> LinearTicks(double low, double high, int count) {
  const double distance = RoundTickDistance(high - low, count);
  std::vector<double> ticks;
  const double end = high + kTolerance * distance;
  for (double i = std::ceil(low / distance - kTolerance); i * distance <= end; i += 1) {
    ticks.push_back(i * distance + 0.0);                 // no minus before a zero
    if (i * distance + distance == i * distance) break;  // too close for a double
  }
  return ticks;
}

// `digits` times every power of ten in the range.
std::vector<double> PowerTicks(double low, double high, const std::vector<double>& digits) {
  std::vector<double> ticks;
  for (double power = std::floor(std::log10(low)); power <= std::ceil(std::log10(high));
       power += 1) {
    for (const double digit : digits) {
      const double tick = digit * std::pow(10, power);
      if (tick >= low * (1 - kTolerance) && tick <= high * (1 + kTolerance)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::vector<double> LogarithmicTicks(double low, double high, int count) {
  const std::vector<double> powers = PowerTicks(low, high, {1});
  if (powers.size() < 3) {
    std::vector<double> ticks = PowerTicks(low, high, {1, 2, 5});
    if (static_cast<int>(ticks.size()) > count + 1) ticks = PowerTicks(low, high, {1, 3});
    return ticks.size() < 3 ? LinearTicks(low, high, count) : ticks;
  }
  const size_t every = (powers.size() + count - 1) / count;
  std::vector<double> kept;
  for (size_t i = 0; i < powers.size(); i += every) kept.push_back(powers[i]);
  return kept;
}

std::vector<double> StepTicks(double low, double high) {
  std::vector<double> ticks;
  if (low <= 0) ticks.push_back(0);
  if (low <= kStepOffset && kStepOffset <= high) ticks.push_back(kStepOffset);
  for (const double tick : PowerTicks(std::max(low, 100.), std::max(high, 1.), {1, 3})) {
    ticks.push_back(tick);
  }
  return ticks;
}

// "1e-05" as people write it.
std::string WithoutLeadingZeros(std::string text) {
  for (const char* sign : {"e-0", "e+0", "e+"}) {
    if (const size_t at = text.find(sign); at != std::string::npos) {
      return absl::StrCat(text.substr(0, at), absl::StrContains(sign, "-") ? "e-" : "e",
                          text.substr(at + std::string(sign).size()));
    }
  }
  return text;
}

}  // namespace

double RoundTickDistance(double range, int count) {
  const double rough = range / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double digit : {1., 2., 5.}) {
    if (digit * power >= rough * (1 - kTolerance)) return digit * power;
  }
  return 10 * power;
}

std::string TickLabel(double value) {
  const double size = std::abs(value);
  if (size >= 1e6 && size < 1e9) return absl::StrFormat("%.4gM", value / 1e6);
  if (size >= 1e4 && size < 1e6) return absl::StrFormat("%.4gk", value / 1e3);
  return WithoutLeadingZeros(absl::StrFormat("%.4g", value));
}

ChartScale::ChartScale(Kind kind, double low, double high) : kind_(kind), low_(low), high_(high) {
  if (high_ > low_) return;
  if (kind_ == Kind::kLogarithmic) {
    high_ = low_ * 10;
  } else {
    high_ = low_ == 0 ? 1 : low_ + std::abs(low_);
  }
}

ChartScale ChartScale::Fit(Kind kind, double low, double high) {
  const ChartScale narrow(kind, low, high);
  if (kind != Kind::kLinear) return narrow;
  const double distance = RoundTickDistance(narrow.high_ - narrow.low_, 4);
  return {kind, std::floor(narrow.low_ / distance + kTolerance) * distance,
          std::ceil(narrow.high_ / distance - kTolerance) * distance};
}

bool ChartScale::Has(double value) const {
  if (!std::isfinite(value)) return false;
  if (kind_ == Kind::kLogarithmic) return value > 0;
  return kind_ != Kind::kStep || value > -kStepOffset;
}

double ChartScale::Mapped(double value) const {
  switch (kind_) {
    case Kind::kLinear:
      return value;
    case Kind::kLogarithmic:
      return std::log10(value);
    case Kind::kStep:
      return std::log10(value + kStepOffset);
  }
  return value;
}

double ChartScale::Fraction(double value) const {
  const double low = Mapped(low_);
  return (Mapped(value) - low) / (Mapped(high_) - low);
}

std::vector<double> ChartScale::Ticks(int count) const {
  switch (kind_) {
    case Kind::kLinear:
      return LinearTicks(low_, high_, count);
    case Kind::kLogarithmic:
      return LogarithmicTicks(low_, high_, count);
    case Kind::kStep:
      return StepTicks(low_, high_);
  }
  return {};
}

}  // namespace sluice
