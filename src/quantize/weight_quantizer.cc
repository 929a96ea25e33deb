#include "quantize/weight_quantizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "core/check.h"
#include "core/status.h"
#include "quantize/range_estimator.h"
#include "runtime/host_tensor.h"

namespace sluice {
namespace {

bool IsOfAHead(absl::string_view name) {
  return absl::StartsWith(name, "cls.") || absl::StartsWith(name, "bert.pooler.") ||
         absl::StartsWith(name, "unembedding.");
}

bool IsOfAGateOrSink(absl::string_view name) {
  return absl::StrContains(name, ".gate.") || absl::StrContains(name, ".sink.");
}

}  // namespace

WeightRole RoleOfWeight(const Parameter& parameter) {
  const absl::string_view name = parameter.name;
  if (!absl::EndsWith(name, ".weight") || IsOfAHead(name) || IsOfAGateOrSink(name)) {
    return WeightRole::kNotQuantized;
  }
  for (const absl::string_view table : {"word_embeddings.", "embed_tokens.", "token_embedding."}) {
    if (absl::StrContains(name, table)) return WeightRole::kTokenTable;
  }
  if (parameter.shape.rank() == 1) return WeightRole::kNorm;
  return absl::StrContains(name, "embed") ? WeightRole::kEmbedding : WeightRole::kLinear;
}

UniformQuantizer WeightQuantizer::Fit(const Parameter& parameter, const TensorView& values) const {
  const bool sixteen = std::ranges::count(options_.sixteen_bit, parameter.name) > 0;
  const int bits = sixteen ? 16 : options_.bits;
  const ValueRange range = options_.ranges == WeightRanges::kMinMax
                               ? MinMaxRange(values)
                               : LeastSquaresRange(values, bits);
  return UniformQuantizer::Symmetric(range, bits);
}

void WeightQuantizer::QuantizeOne(const Parameter& parameter, WeightRole role,
                                  const TensorView& values) {
  QuantizationError error{.tensor = parameter.name};
  if (role == WeightRole::kTokenTable) {
    token_table_ = Fit(parameter, values);
    std::vector<float> copy(values.as<float>(), values.as<float>() + values.elements());
    QuantizeInPlace(token_table_, TensorView::Of(copy.data(), values.shape()), error);
  } else if (role == WeightRole::kLinear && options_.per_channel) {
    std::vector<UniformQuantizer>& rows = rows_[parameter.name];
    for (int64_t row = 0; row < values.rows(); ++row) {
      const TensorView channel = values.Rows(row, 1);
      QuantizeInPlace(rows.emplace_back(Fit(parameter, channel)), channel, error);
    }
  } else {
    const UniformQuantizer quantizer = Fit(parameter, values);
    if (role == WeightRole::kLinear) rows_[parameter.name].assign(values.rows(), quantizer);
    QuantizeInPlace(quantizer, values, error);
  }
  errors_.push_back(std::move(error));
}

absl::Status WeightQuantizer::Quantize(Device& device, const ParameterStore& parameters) {
  CHECK(before_.empty()) << "quantized already";
  ASSIGN_OR_RETURN(HostTensor masters, HostTensor::Read(device, parameters.flat_master()));
  float* values = masters.view().as<float>();
  before_.assign(values, values + masters.view().elements());
  errors_.clear();
  rows_.clear();
  for (const Parameter& parameter : parameters.parameters()) {
    const WeightRole role = RoleOfWeight(parameter);
    if (role == WeightRole::kNotQuantized) continue;
    QuantizeOne(parameter, role, TensorView::Of(values + parameter.offset, parameter.shape));
  }
  for (const std::string& name : options_.sixteen_bit) {
    CHECK(std::ranges::count(errors_, name, &QuantizationError::tensor) == 1)
        << name << " is no weight that is quantized";
  }
  return masters.Store();
}

const std::vector<UniformQuantizer>& WeightQuantizer::RowsOf(const std::string& parameter) const {
  const auto found = rows_.find(parameter);
  CHECK(found != rows_.end()) << parameter << " is no quantized weight of a linear layer";
  return found->second;
}

absl::Status WeightQuantizer::Restore(Device& device, const ParameterStore& parameters) {
  CHECK(!before_.empty()) << "nothing is quantized";
  HostTensor masters = HostTensor::ToWrite(device, parameters.flat_master());
  std::copy(before_.begin(), before_.end(), masters.view().as<float>());
  before_.clear();
  return masters.Store();
}

}  // namespace sluice
