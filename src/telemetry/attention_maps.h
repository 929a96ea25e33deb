// Attention maps: who looks at whom in a few sequences, as numbers and as pictures. A map holds p'
// of kernels/api/attention.h, what probabilities are after clipping and before dropout and gates.
//
//   AttentionMapObserver observer(layers, most_tokens);
//   … forward without dropout, with &observer …
//   observer.maps()
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/observer.h"
#include "nlohmann/json.hpp"
#include "telemetry/png_image.h"

namespace sluice {

struct AttentionMap {
  int64_t tokens = 0;
  std::vector<float> p;  // (tokens, tokens): a row is a query. What goes to registers, to a sink
                         // and to later tokens is not in it, so a row sums to 1 at most, but
                         // without a softmax to any number from 0 on
};

struct SequenceMaps {
  int64_t index = 0;                              // of the sequence in its data
  std::vector<std::string> tokens;                // as text, of the maps
  std::vector<std::vector<AttentionMap>> layers;  // layers[l][h]
};

class AttentionMapObserver : public Observer {
 public:
  // A map is of a sequence's first `most_tokens` tokens.
  AttentionMapObserver(int64_t layers, int64_t most_tokens)
      : layers_(layers), most_tokens_(most_tokens) {}

  bool Wants(absl::string_view /*tensor*/) const override { return false; }
  void Observe(int layer, absl::string_view tensor, const TensorView& view) override;
  AttentionLook attention_look() const override { return AttentionLook::kObserve; }
  absl::Status ObserveAttention(int layer, const ObservedAttention& attention) override;

  // Of all sequences of all passes, in order; without index and text.
  std::vector<SequenceMaps>& maps() { return maps_; }

 private:
  int64_t layers_, most_tokens_;
  std::vector<SequenceMaps> maps_;
  size_t first_ = 0;  // sequence of the pass at hand
};

// White where nothing is looked at, black where p is 1 or more; a token has several pixels where
// there are few tokens.
Image DrawMap(const AttentionMap& map);

// {"step": …, "sequences": [{"index": …, "tokens": […], "layers": [[[[p, …], …], …], …]}, …]}, with
// four digits behind the point; null: not a number. Bytes that are no UTF-8 are replaced.
std::string AttentionMapsToJson(int64_t step, const std::vector<SequenceMaps>& maps);

}  // namespace sluice
