// The tensors of the residual stream and of what is added to it, (N, C) each: of a model's
// embeddings their sum and what the first block reads, of each layer what both branches give, both
// sums and both norms. A layer's output is the next one's input. Outlier metrics are of these.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/observer.h"

namespace sluice {

struct StreamTensor {
  int layer;  // -1: the embeddings
  absl::string_view name;
};

int64_t StreamTensorCount(int64_t layers);
// In the order in which a pass shows them.
std::vector<StreamTensor> StreamTensors(int64_t layers);
// Where in that list; -1 for all others.
int64_t StreamTensorSlot(int layer, absl::string_view tensor);
// Whether some layer, or the embeddings, have one of this name.
bool IsStreamTensor(absl::string_view tensor);

}  // namespace sluice
