// The axes of charts: where a value lies, and round ticks with short labels.
//
//   const ChartScale scale = ChartScale::Fit(ChartScale::Kind::kLinear, 0.03, 0.87);   // 0 … 1
//   for (const double tick : scale.Ticks(5)) … scale.Fraction(tick), TickLabel(tick) …
#pragma once

#include <string>
#include <vector>

namespace sluice {

class ChartScale {
 public:
  enum class Kind {
    kLinear,
    kLogarithmic,  // positive values
    kStep,         // training steps >= 0, logarithmic in step + 20: the beginning can be seen
  };

  // `low` to `high`, as they are. An empty or reversed range is widened.
  ChartScale(Kind kind, double low, double high);
  // Widened to the next round ticks on both sides, where the kind is linear.
  static ChartScale Fit(Kind kind, double low, double high);

  Kind kind() const { return kind_; }
  double low() const { return low_; }
  double high() const { return high_; }
  // Whether `value` has a place on the axis: finite, and positive where that is needed.
  bool Has(double value) const;
  // 0 at low, 1 at high; of values that Has.
  double Fraction(double value) const;

  // Rising, within the range, about `count` or fewer: 1, 2 or 5 times a power of ten apart, or on
  // a logarithmic axis powers of ten (with twos and fives, or threes, of them where these are few).
  std::vector<double> Ticks(int count) const;

 private:
  double Mapped(double value) const;
  Kind kind_;
  double low_, high_;
};

// The largest of 1, 2 or 5 times a power of ten that is at most about range / count, rounded up.
double RoundTickDistance(double range, int count);

// At most four digits: 0.05, 20k, 1.5M, 1e-5.
std::string TickLabel(double value);

}  // namespace sluice
