#include "telemetry/stream_tensors.h"

#include <algorithm>
#include <array>

namespace sluice {
namespace {

constexpr std::array<absl::string_view, 2> kEmbeddingTensors = {observed::kEmbeddingSum,
                                                                observed::kEmbeddingNorm};
constexpr std::array<absl::string_view, 6> kLayerTensors = {
    observed::kAttentionOutput,   observed::kAttentionSum,   observed::kAttentionNorm,
    observed::kFeedForwardOutput, observed::kFeedForwardSum, observed::kFeedForwardNorm};

}  // namespace

int64_t StreamTensorCount(int64_t layers) {
  return std::ssize(kEmbeddingTensors) + layers * std::ssize(kLayerTensors);
}

std::vector<StreamTensor> StreamTensors(int64_t layers) {
  std::vector<StreamTensor> tensors;
  for (const absl::string_view name : kEmbeddingTensors) tensors.push_back({-1, name});
  for (int layer = 0; layer < layers; ++layer) {
    for (const absl::string_view name : kLayerTensors) tensors.push_back({layer, name});
  }
  return tensors;
}

int64_t StreamTensorSlot(int layer, absl::string_view tensor) {
  const auto place = [tensor](const auto& names) -> int64_t {
    const auto found = std::find(names.begin(), names.end(), tensor);
    return found == names.end() ? -1 : found - names.begin();
  };
  if (layer < 0) return place(kEmbeddingTensors);
  const int64_t within = place(kLayerTensors);
  return within < 0 ? -1 : StreamTensorCount(layer) + within;
}

bool IsStreamTensor(absl::string_view tensor) {
  return StreamTensorSlot(-1, tensor) >= 0 || StreamTensorSlot(0, tensor) >= 0;
}

}  // namespace sluice
