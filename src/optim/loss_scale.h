// The dynamic loss scale of fp16. Gradients below 2^-24 are zero in fp16 and those from 65520 on
// infinite, so the loss's gradient is multiplied by a scale and the update divides by it. The scale
// is found by trying: an update whose gradients overflowed is skipped and the scale halved; after
// enough good ones it is doubled (Micikevicius et al., arXiv 1710.03740, section 3.2).
//
//   LossScale scale(config.training.loss_scale);
//   … gradients of scale.value() · loss; the update multiplies by 1 / scale.value() …
//   if (finite) scale.Applied(); else if (!scale.Overflowed()) … give up …
#pragma once

#include <cstdint>
#include <optional>

#include "config/run_config.h"

namespace sluice {

// The scale is not doubled beyond this. Losses are summed over targets, not averaged, so the
// gradient of a logit is up to the scale itself: 65536 would be infinite wherever a target is
// improbable.
inline constexpr double kLargestGrownLossScale = 32768;

class LossScale {
 public:
  // What a run goes on with.
  struct State {
    double scale = 1;
    int64_t clean_updates = 0;    // since the last overflow or doubling
    int64_t skipped_updates = 0;  // of the whole run
    friend bool operator==(const State&, const State&) = default;
  };

  LossScale() = default;  // 1 for ever: fp32 and bf16, which have the exponents of fp32
  // `weight`: that a loss of the sum has at most, which its logits' gradients are multiplied by;
  // the scale begins and grows so much lower (by its next power of two).
  explicit LossScale(const LossScaleConfig& config, double weight = 1);

  bool dynamic() const { return config_.has_value(); }
  double value() const { return state_.scale; }
  const State& state() const { return state_; }
  // Goes on from there; a scale that is not dynamic stays 1 and only counts on.
  void Restore(const State& state);

  // After an update that was made.
  void Applied();
  // After one that was skipped. False, and nothing changes, when there is no lower scale to try.
  bool Overflowed();

 private:
  std::optional<LossScaleConfig> config_;
  double largest_grown_ = kLargestGrownLossScale;
  State state_;
};

}  // namespace sluice
