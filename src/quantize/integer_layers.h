// Linear layers whose weight and input are quantized, with products in 8-bit integers: what
// simulated quantization promises, done. Codes are those of the simulation's quantizers, so layer
// by layer the results are the simulation's but for rounding (docs/quantization.md).
//
//   IntegerLayers layers;
//   layers.Add({.weight = weights, .rows = quantizers_of_its_rows, .input = quantizer_of_x});
//   context.set_linear_executor(&layers);      passes with the simulation's observer
#pragma once

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "ops/execution_context.h"
#include "ops/integer_linear.h"
#include "quantize/uniform_quantizer.h"

namespace sluice {

class IntegerLayers : public LinearExecutor {
 public:
  struct Layer {
    TensorView weight;                   // (M, K), fp32, quantized by `rows`
    std::vector<UniformQuantizer> rows;  // (M): symmetric
    UniformQuantizer input;              // of x
  };
  // False where the codes do not fit in 8 bits: a weight without a negative value has 0 … 255.
  // The layer is then left to fp32.
  bool Add(const Layer& layer);

  absl::StatusOr<bool> Run(ExecutionContext& context, const Product& product) override;

  int64_t size() const { return static_cast<int64_t>(layers_.size()); }
  int64_t products() const { return products_; }  // run so far

 private:
  std::map<const void*, ops::IntegerLinear> layers_;  // by where the weight lies
  int64_t products_ = 0;
};

}  // namespace sluice
