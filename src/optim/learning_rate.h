// The learning rate of each update as a function: nothing to save, nothing to restore.
#pragma once

#include <cstdint>

#include "config/run_config.h"

namespace sluice {

// The rate of update k (0-based, counted in optimizer updates whatever the number of
// micro-batches), of `total_steps`, with w = schedule.warmup_steps and f = schedule.final_fraction:
//   k < w:      peak · k / w                                   (so the first update of a warm-up
//   has rate 0) linear:     peak · (f + (1 - f) · (total - k) / (total - w)) cosine:     peak · (f
//   + (1 - f) · (1 + cos(π (k - w) / (total - w))) / 2) constant:   peak
// At and after total_steps: the final value.
double LearningRateAt(const LearningRateScheduleConfig& schedule, double peak, int64_t total_steps,
                      int64_t k);

}  // namespace sluice
