#include "telemetry/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/bf16.h"
#include "core/check.h"
#include "core/fp16.h"

namespace sluice {
namespace {

constexpr int64_t kImagePixels = 256;  // about the width of an image
constexpr double kHidden = -std::numeric_limits<double>::infinity();

double ValueAt(const TensorView& view, int64_t row, int64_t column) {
  const int64_t at = row * view.row_stride() + column;
  switch (view.dtype()) {
    case DType::kFloat64:
      return view.as<double>()[at];
    case DType::kFloat32:
      return view.as<float>()[at];
    case DType::kBFloat16:
      return static_cast<float>(view.as<bf16>()[at]);
    case DType::kFloat16:
      return static_cast<float>(view.as<fp16>()[at]);
    default:
      CHECK(false) << "attention in " << DTypeName(view.dtype());
      return 0;
  }
}

// (rows, columns) of a view, in double.
std::vector<double> Part(const TensorView& view, int64_t first_row, int64_t rows,
                         int64_t first_column, int64_t columns) {
  std::vector<double> part(rows * columns);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      part[row * columns + column] = ValueAt(view, first_row + row, first_column + column);
    }
  }
  return part;
}

// Whether token `query` of sequence b, which is no register, sees `key`.
bool Sees(const ObservedAttention& attention, int64_t b, int64_t query, int64_t key) {
  const AttentionMask& mask = attention.mask;
  if (mask.lengths != nullptr && std::max(query, key) >= mask.lengths[b]) return false;
  if (key < mask.registers) return true;
  if (mask.causal && key > query) return false;
  const int32_t* documents = mask.documents == nullptr ? nullptr : mask.documents + b * attention.T;
  return documents == nullptr || documents[query] == documents[key];
}

// One head of one sequence.
class Head {
 public:
  Head(const ObservedAttention& attention, int64_t b, int64_t h)
      : attention_(attention),
        b_(b),
        registers_(attention.mask.registers),
        tokens_(std::min(kMostMapTokens, attention.T - registers_)) {
    const int64_t D = attention.D, C = attention.H * D, first = b * attention.T;
    q_ = Part(attention.qkv, first + registers_, tokens_, h * D, D);
    k_ = Part(attention.qkv, first, attention.T, C + h * D, D);
    if (!attention.sink_key.null()) {
      const std::vector<double> sink = Part(attention.sink_key, h, 1, 0, D);
      k_.insert(k_.end(), sink.begin(), sink.end());
    }
    logit_ = kHidden;
    if (attention.variant.sink == SoftmaxSink::kZero) logit_ = 0;
    if (attention.variant.sink == SoftmaxSink::kLogit) {
      logit_ = ValueAt(attention.sink_logit, 0, h);
    }
  }

  AttentionMap Map() {
    AttentionMap map = {.tokens = tokens_, .p = {}};
    for (int64_t i = 0; i < tokens_; ++i) {
      Score(i);
      const std::vector<double> p = Softmax();
      for (int64_t j = 0; j < tokens_; ++j) {
        map.p.push_back(static_cast<float>(p[registers_ + j]));
      }
    }
    return map;
  }

 private:
  // Of query token i with every key: registers, tokens, then the sink token.
  void Score(int64_t i) {
    const int64_t D = attention_.D, keys = std::ssize(k_) / D, query = registers_ + i;
    const double scale = 1 / std::sqrt(static_cast<double>(D));
    scores_.assign(keys, kHidden);
    bool sees_any = false;
    for (int64_t key = 0; key < keys; ++key) {
      const bool sink = key >= attention_.T;
      if (sink ? !sees_any : !Sees(attention_, b_, query, key)) continue;
      sees_any = true;
      double score = 0;
      for (int64_t d = 0; d < D; ++d) score += q_[i * D + d] * k_[key * D + d];
      scores_[key] = score * scale;
    }
  }

  // p' of the scores; zero everywhere for a query that sees nothing.
  std::vector<double> Softmax() const {
    std::vector<double> p(scores_.size());
    const double largest = std::max(logit_, *std::max_element(scores_.begin(), scores_.end()));
    if (largest == kHidden) return p;
    double sum = std::exp(logit_ - largest);
    for (const double score : scores_) sum += std::exp(score - largest);
    const ClippedSoftmax& clip = attention_.variant.clip;
    for (size_t key = 0; key < p.size(); ++key) {
      if (scores_[key] == kHidden) continue;
      p[key] = std::exp(scores_[key] - largest) / sum;
      if (!clip.enabled()) continue;
      const double gamma = clip.gamma, zeta = clip.zeta;
      p[key] = std::clamp((zeta - gamma) * p[key] + gamma, 0.0, 1.0);
    }
    return p;
  }

  const ObservedAttention& attention_;
  const int64_t b_, registers_, tokens_;
  std::vector<double> q_, k_;  // (tokens, D); (T, D), then the sink token's
  double logit_;
  std::vector<double> scores_;
};

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
  for (int64_t b = 0; b < attention.B; ++b) {
    SequenceMaps& maps = maps_[first_ + b];
    maps.layers.resize(layers_);
    for (int64_t h = 0; h < attention.H; ++h) {
      maps.layers[layer].push_back(Head(attention, b, h).Map());
    }
  }
  return absl::OkStatus();
}

GreyImage DrawMap(const AttentionMap& map) {
  const int64_t size = std::max<int64_t>(1, kImagePixels / map.tokens);  // pixels of a token
  const int64_t width = map.tokens * size;
  GreyImage image = {.width = width, .height = width, .pixels = {}};
  for (int64_t y = 0; y < width; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const double p = map.p[y / size * map.tokens + x / size];
      // Not a number is white.
      image.pixels.push_back(static_cast<uint8_t>(p >= 0 ? std::lround(255 * (1 - p)) : 255));
    }
  }
  return image;
}

std::string AttentionMapsToJson(int64_t step, const std::vector<SequenceMaps>& maps) {
  nlohmann::ordered_json sequences = nlohmann::ordered_json::array();
  for (const SequenceMaps& sequence : maps) {
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    for (const std::vector<AttentionMap>& heads : sequence.layers) {
      nlohmann::ordered_json layer = nlohmann::ordered_json::array();
      for (const AttentionMap& map : heads) {
        nlohmann::ordered_json rows = nlohmann::ordered_json::array();
        for (int64_t i = 0; i < map.tokens; ++i) {
          std::vector<double> row(map.tokens);
          for (int64_t j = 0; j < map.tokens; ++j) {
            row[j] = std::round(static_cast<double>(map.p[i * map.tokens + j]) * 1e4) / 1e4;
          }
          rows.push_back(row);
        }
        layer.push_back(std::move(rows));
      }
      layers.push_back(std::move(layer));
    }
    sequences.push_back({{"tokens", sequence.tokens}, {"layers", std::move(layers)}});
  }
  const nlohmann::ordered_json json = {{"step", step}, {"sequences", std::move(sequences)}};
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace sluice
