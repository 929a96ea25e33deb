#include "telemetry/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/json_text.h"
#include "nlohmann/json.hpp"
#include "telemetry/attention_probabilities.h"

namespace sluice {
namespace {

constexpr int64_t kImagePixels = 256;  // about the width of an image

// Of the first tokens of a sequence as queries and keys.
AttentionMap MapOf(AttentionProbabilities& head, int64_t most_tokens) {
  const int64_t tokens = std::min(most_tokens, head.tokens());
  AttentionMap map = {.tokens = tokens, .p = std::vector<float>(tokens * tokens)};
  for (int64_t i = 0; i < tokens; ++i) {
    const AttentionProbabilities::QueryRow row = head.Row(i);
    for (int64_t j = row.first; j < std::min(tokens, row.first + std::ssize(row.probabilities));
         ++j) {
      map.p[i * tokens + j] = static_cast<float>(row.probabilities[j - row.first]);
    }
  }
  return map;
}

// [a,b,…] with `append` for each.
template <typename Elements, typename Append>
void AppendList(const Elements& elements, std::string* json, const Append& append) {
  char separator = '[';
  for (const auto& element : elements) {
    json->push_back(separator);
    append(element);
    separator = ',';
  }
  json->append(separator == '[' ? "[]" : "]");
}

// As text at once: as a tree of JSON values the maps of a large model would fill the memory.
void AppendMap(const AttentionMap& map, std::string* json) {
  std::vector<std::span<const float>> rows;
  for (int64_t i = 0; i < map.tokens; ++i) rows.emplace_back(&map.p[i * map.tokens], map.tokens);
  AppendList(rows, json, [&](std::span<const float> row) {
    AppendList(row, json, [&](float p) {
      if (std::isfinite(p)) {
        absl::StrAppend(json, std::round(static_cast<double>(p) * 1e4) / 1e4);
      } else {
        absl::StrAppend(json, "null");
      }
    });
  });
}

}  // namespace

void AttentionMapObserver::Observe(int /*layer*/, absl::string_view tensor,
                                   const TensorView& /*view*/) {
  CHECK(false) << tensor << " is not wanted";
}

absl::Status AttentionMapObserver::ObserveAttention(int layer, const ObservedAttention& attention) {
  if (layer == 0) {
    first_ = maps_.size();
    maps_.resize(first_ + attention.B);
  }
  AttentionProbabilities head;
  for (int64_t b = 0; b < attention.B; ++b) {
    SequenceMaps& maps = maps_[first_ + b];
    maps.layers.resize(layers_);
    for (int64_t h = 0; h < attention.H; ++h) {
      head.Load(attention, b, h);
      maps.layers[layer].push_back(MapOf(head, most_tokens_));
    }
  }
  return absl::OkStatus();
}

Image DrawMap(const AttentionMap& map) {
  const int64_t size = std::max<int64_t>(1, kImagePixels / map.tokens);  // pixels of a token
  const int64_t width = map.tokens * size;
  Image image = {.width = width, .height = width};
  for (int64_t y = 0; y < width; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double p = map.p[y / size * map.tokens + x / size];
      // Not a number is white.
      const double shown = p >= 0 ? std::min(p, 1.0) : 0;
      image.pixels.push_back(static_cast<uint8_t>(std::lround(255 * (1 - shown))));
    }
  }
  return image;
}

std::string AttentionMapsToJson(int64_t step, const std::vector<SequenceMaps>& maps) {
  std::string json = absl::StrCat("{\"step\":", step, ",\"sequences\":");
  AppendList(maps, &json, [&](const SequenceMaps& sequence) {
    absl::StrAppend(&json, "{\"index\":", sequence.index,
                    ",\"tokens\":", JsonText(nlohmann::json(sequence.tokens)), ",\"layers\":");
    AppendList(sequence.layers, &json, [&](const std::vector<AttentionMap>& heads) {
      AppendList(heads, &json, [&](const AttentionMap& map) { AppendMap(map, &json); });
    });
    json += "}";
  });
  json += "}";
  return json;
}

}  // namespace sluice
