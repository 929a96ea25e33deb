// SmoothQuant (Xiao et al., arXiv 2211.10438, eq. 4): channels that stand out behind a LayerNorm
// are made smaller there and larger in the weights that read them, which quantize more easily.
//
//   s_c = max |x_c|^alpha / max |w_c|^(1 - alpha);  gamma_c, beta_c /= s_c;  w[:, c] *= s_c
//
// In exact arithmetic the model stays the same function. That needs norms that nothing but those
// weights reads: pre-LN models, where the residual stream goes past the norm.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/observer.h"
#include "runtime/parameter.h"

namespace sluice {

// A LayerNorm and the weights that read it: indices of parameters. A weight has C columns, or C / H
// where each head reads its own slice of C.
struct SmoothingGroup {
  int layer;           // under which
  std::string tensor;  // … and as which the norm's output is observed
  int gamma, beta;
  std::vector<int> weights;
};

// max |x_c| of each channel behind the norms of pre-LN models, over the passes observed.
class ChannelMaxima : public Observer {
 public:
  bool Wants(absl::string_view tensor) const override;
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  const std::vector<float>& At(int layer, const std::string& tensor) const;

 private:
  std::map<std::pair<int, std::string>, std::vector<float>> maxima_;
};

// Changes the fp32 masters; 0 < alpha < 1, the migration strength.
absl::Status Smooth(const std::vector<SmoothingGroup>& groups, const ChannelMaxima& maxima,
                    double alpha, Device& device, const ParameterStore& parameters);

}  // namespace sluice
