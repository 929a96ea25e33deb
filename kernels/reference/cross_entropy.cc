#include "kernels/api/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace sluice::reference {

void CrossEntropy(const CrossEntropyArgs<double>& args) {
  for (int64_t m = 0; m < args.M; ++m) {
    const double* logits = args.logits + m * args.V;
    double* dlogits = args.dlogits == nullptr ? nullptr : args.dlogits + m * args.V;
    const int32_t target = args.targets[m];
    if (args.row_loss != nullptr) args.row_loss[m] = 0;
    if (target < 0) {
      if (dlogits != nullptr) std::fill(dlogits, dlogits + args.V, 0.0);
      continue;
    }
    const double* largest = std::max_element(logits, logits + args.V);  // the first of equals
    double sum = 0;
    for (int64_t v = 0; v < args.V; ++v) sum += std::exp(logits[v] - *largest);
    const double log_sum_exp = *largest + std::log(sum);
    const double loss = log_sum_exp - logits[target];
    *args.loss_sum += loss;
    *args.target_count += 1;
    if (args.correct_count != nullptr) *args.correct_count += largest - logits == target;
    if (args.row_loss != nullptr) args.row_loss[m] = loss;
    if (dlogits == nullptr) continue;
    for (int64_t v = 0; v < args.V; ++v) {
      const double probability = std::exp(logits[v] - log_sum_exp);
      dlogits[v] = args.gradient_scale * (probability - (v == target ? 1 : 0));
    }
  }
}

}  // namespace sluice::reference
