#include "optim/loss_scale.h"

#include <algorithm>
#include <cmath>

namespace sluice {

LossScale::LossScale(const LossScaleConfig& config, double weight) : config_(config) {
  if (weight <= 1) {
    state_.scale = config.initial;
    return;
  }
  largest_grown_ = kLargestGrownLossScale / std::exp2(std::ceil(std::log2(weight)));
  state_.scale = std::max(std::min(config.initial, largest_grown_), config.minimum);
}

void LossScale::Restore(const State& state) {
  state_.skipped_updates = state.skipped_updates;
  if (!dynamic()) return;
  // The minimum may have been raised since.
  state_.scale = std::max(state.scale, config_->minimum);
  state_.clean_updates = state.clean_updates;
}

void LossScale::Applied() {
  if (!dynamic() || ++state_.clean_updates < config_->growth_interval) return;
  state_.clean_updates = 0;
  if (2 * state_.scale <= largest_grown_) state_.scale *= 2;
}

bool LossScale::Overflowed() {
  if (!dynamic() || state_.scale <= config_->minimum) return false;
  state_.scale = std::max(state_.scale / 2, config_->minimum);
  state_.clean_updates = 0;
  ++state_.skipped_updates;
  return true;
}

}  // namespace sluice
