#include "optim/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace sluice {

double LearningRateAt(const LearningRateScheduleConfig& schedule, double peak, int64_t total_steps,
                      int64_t k) {
  const int64_t w = schedule.warmup_steps;
  if (k < w) return peak * static_cast<double>(k) / static_cast<double>(w);
  if (schedule.shape == "constant") return peak;
  const double f = schedule.final_fraction;
  const double done =
      total_steps > w
          ? std::min(1.0, static_cast<double>(k - w) / static_cast<double>(total_steps - w))
          : 1.0;
  if (schedule.shape == "linear") return peak * (f + (1 - f) * (1 - done));
  CHECK(schedule.shape == "cosine") << schedule.shape;
  return peak * (f + (1 - f) * (1 + std::cos(std::numbers::pi * done)) / 2);
}

}  // namespace sluice
