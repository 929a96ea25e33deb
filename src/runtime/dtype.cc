#include "runtime/dtype.h"

#include "core/check.h"

namespace sluice {

int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
    case DType::kFloat16:
      return 2;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
  }
  CHECK(false) << "no such dtype";
  return 0;
}

absl::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kBFloat16:
      return "bf16";
    case DType::kFloat16:
      return "fp16";
    case DType::kFloat32:
      return "fp32";
    case DType::kFloat64:
      return "fp64";
    case DType::kInt32:
      return "int32";
    case DType::kInt64:
      return "int64";
  }
  CHECK(false) << "no such dtype";
  return "";
}

DType AccumulatorDType(DType dtype) {
  CHECK(dtype != DType::kInt32 && dtype != DType::kInt64);
  return dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
}

}  // namespace sluice
