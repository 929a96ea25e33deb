#include "ops/elementwise.h"

#include "core/check.h"
#include "kernels/api/elementwise.h"

namespace sluice::ops {

double SumOfSquares(const ExecutionContext& context, const TensorView& x) {
  const OpTimer timer(context, "sum_of_squares");
  CHECK(x.contiguous());
  switch (x.dtype()) {
    case DType::kFloat64:
      return reference::SumOfSquares(x.as<double>(), x.elements());
    case DType::kFloat32:
      return cpu::SumOfSquares(x.as<float>(), x.elements());
    case DType::kBFloat16:
      return cpu::SumOfSquares(x.as<bf16>(), x.elements());
    case DType::kInt32:
      break;
  }
  CHECK(false) << "sum of squares of " << DTypeName(x.dtype());
  return 0;
}

void RoundToWorking(const ExecutionContext& context, const TensorView& master,
                    const TensorView& working) {
  const OpTimer timer(context, "round_to_working");
  if (master.data() == working.data()) return;
  CHECK_EQ(master.elements(), working.elements());
  cpu::Convert(master.as<float>(), working.as<bf16>(), master.elements());
}

void Zero(const ExecutionContext& context, const TensorView& x) {
  const OpTimer timer(context, "zero");
  CHECK(x.contiguous());
  cpu::ZeroFill(x.data(), x.bytes());
}

void AddInPlace(const ExecutionContext& context, const TensorView& x, const TensorView& y) {
  const OpTimer timer(context, "add_in_place");
  CHECK_EQ(x.elements(), y.elements());
  CHECK(x.contiguous() && y.contiguous());
  switch (x.dtype()) {
    case DType::kFloat64:
      for (int64_t i = 0; i < x.elements(); ++i) y.as<double>()[i] += x.as<double>()[i];
      return;
    case DType::kFloat32:
      return cpu::AddInPlace(x.as<float>(), y.as<float>(), x.elements());
    case DType::kBFloat16:
      return cpu::AddInPlace(x.as<bf16>(), y.as<bf16>(), x.elements());
    case DType::kInt32:
      break;
  }
  CHECK(false) << "add_in_place of " << DTypeName(x.dtype());
}

}  // namespace sluice::ops
