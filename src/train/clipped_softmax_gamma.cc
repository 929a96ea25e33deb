#include "train/clipped_softmax_gamma.h"

namespace sluice {

void FixClippedSoftmaxGamma(RunConfig& config) {
  ClippedSoftmaxConfig& clip = config.model.attention.clipped_softmax;
  if (config.model.attention.variant != "clipped_softmax" || clip.alpha <= 0) return;
  clip.gamma = -clip.alpha / static_cast<double>(config.data.sequence_length);
  clip.alpha = 0;
}

}  // namespace sluice
