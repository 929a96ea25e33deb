// Element types that tensors have at run time.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/bf16.h"
#include "core/fp16.h"

namespace sluice {

enum class DType { kBFloat16, kFloat16, kFloat32, kFloat64, kInt32, kInt64 };

int64_t SizeOf(DType dtype);               // bytes an element
absl::string_view DTypeName(DType dtype);  // "bf16", "fp16", "fp32", "fp64", "int32", "int64"

// The type in which values of `dtype` are summed and statistics and gradients are kept: fp64 for
// fp64, else fp32.
DType AccumulatorDType(DType dtype);

template <typename T>
constexpr DType DTypeOf() = delete;
template <>
constexpr DType DTypeOf<bf16>() {
  return DType::kBFloat16;
}
template <>
constexpr DType DTypeOf<fp16>() {
  return DType::kFloat16;
}
template <>
constexpr DType DTypeOf<float>() {
  return DType::kFloat32;
}
template <>
constexpr DType DTypeOf<double>() {
  return DType::kFloat64;
}
template <>
constexpr DType DTypeOf<int32_t>() {
  return DType::kInt32;
}
template <>
constexpr DType DTypeOf<int64_t>() {
  return DType::kInt64;
}

}  // namespace sluice
