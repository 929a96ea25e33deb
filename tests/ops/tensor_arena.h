// Tensors for tests of checked calls: named by nobody, filled with doubles, read as doubles.
#pragma once

#include <cstdint>
#include <vector>

#include "core/check.h"
#include "ops/execution_context.h"
#include "runtime/arena.h"

namespace sluice::testing {

inline void FillTensor(const TensorView& view, const std::vector<double>& values) {
  CHECK_EQ(view.elements(), static_cast<int64_t>(values.size()));
  const int64_t columns = view.dim(-1);
  for (int64_t i = 0; i < view.elements(); ++i) {
    const int64_t at = i / columns * view.row_stride() + i % columns;
    const double value = values[static_cast<size_t>(i)];
    if (view.dtype() == DType::kFloat64) {
      view.as<double>()[at] = value;
    } else if (view.dtype() == DType::kFloat32) {
      view.as<float>()[at] = static_cast<float>(value);
    } else {
      view.as<bf16>()[at] = bf16(static_cast<float>(value));
    }
  }
}

inline std::vector<double> TensorValues(const TensorView& view) {
  std::vector<double> values;
  const int64_t columns = view.dim(-1);
  for (int64_t i = 0; i < view.elements(); ++i) {
    const int64_t at = i / columns * view.row_stride() + i % columns;
    if (view.dtype() == DType::kFloat64) {
      values.push_back(view.as<double>()[at]);
    } else if (view.dtype() == DType::kFloat32) {
      values.push_back(view.as<float>()[at]);
    } else {
      values.push_back(static_cast<double>(view.as<bf16>()[at]));
    }
  }
  return values;
}

}  // namespace sluice::testing
