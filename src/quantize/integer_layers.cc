#include "quantize/integer_layers.h"

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "core/status.h"

namespace sluice {
namespace {

// Codes 0 … 255 are what products take, so the lowest one has to be 0: of symmetric quantizers all
// move up, and the zero point with them.
bool FitsUnsigned(const UniformQuantizer& input) { return input.codes() <= 256; }

bool FitsSigned(const UniformQuantizer& row) {
  return row.zero_point() == 0 && row.lowest_code() >= std::numeric_limits<int8_t>::min() &&
         row.highest_code() <= std::numeric_limits<int8_t>::max();
}

}  // namespace

bool IntegerLayers::Add(const Layer& layer) {
  const int64_t M = layer.weight.dim(0), K = layer.weight.dim(1);
  CHECK_EQ(static_cast<int64_t>(layer.rows.size()), M);
  CHECK(layer.weight.contiguous());
  if (!FitsUnsigned(layer.input) || K > ops::IntegerLinear::kMaxInFeatures ||
      !std::all_of(layer.rows.begin(), layer.rows.end(), FitsSigned)) {
    return false;
  }
  ops::IntegerLinear::Weight weight = {.in_features = K, .codes = {}, .scales = {}};
  weight.codes.reserve(M * K);
  for (int64_t m = 0; m < M; ++m) {
    const float* row = layer.weight.as<float>() + m * K;
    for (int64_t k = 0; k < K; ++k) {
      weight.codes.push_back(static_cast<int8_t>(layer.rows[m].Code(row[k])));
    }
    weight.scales.push_back(layer.rows[m].scale());
  }
  const int32_t zero_point = layer.input.zero_point() - layer.input.lowest_code();
  const ops::IntegerLinear::Input input = {layer.input.scale(), zero_point};
  CHECK(layers_.emplace(layer.weight.data(), ops::IntegerLinear(weight, input)).second)
      << "added already";
  return true;
}

absl::StatusOr<bool> IntegerLayers::Run(ExecutionContext& context, const Product& product) {
  const auto found = layers_.find(product.weight.data());
  if (found == layers_.end()) return false;
  RETURN_IF_ERROR(found->second.Forward(context, product.x, product.bias, product.y));
  ++products_;
  return true;
}

}  // namespace sluice
