// A typed look at memory that somebody else owns (an Arena, a test's vector): pointer, dtype,
// shape, distance between rows.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"
#include "runtime/shape.h"

namespace sluice {

class TensorView {
 public:
  TensorView() = default;  // null
  TensorView(void* data, DType dtype, const Shape& shape);
  TensorView(void* data, DType dtype, const Shape& shape, int64_t row_stride);

  template <typename T>
  static TensorView Of(T* data, const Shape& shape) {
    return TensorView(data, DTypeOf<T>(), shape);
  }

  bool null() const { return data_ == nullptr; }
  void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int axis) const { return shape_.dim(axis); }
  int64_t elements() const { return shape_.elements(); }
  int64_t rows() const { return shape_.rows(); }
  int64_t bytes() const {
    return elements() * SizeOf(dtype_);
  }  // of the elements; gaps between rows not counted
  int64_t row_stride() const {
    return row_stride_;
  }  // elements from one row (last dimension) to the next
  bool contiguous() const;

  // The elements as T; CHECKs the dtype. A null view gives null whatever T is.
  template <typename T>
  T* as() const {
    if (null()) return nullptr;
    CheckDType(DTypeOf<T>());
    return static_cast<T*>(data_);
  }

  // The first rows·columns elements seen as `shape`. Contiguous views only; `shape` may be smaller
  // than this one.
  TensorView Prefix(const Shape& shape) const;
  // Rows [begin, begin + count) of a 2-D or flattened view: shape (count, C).
  TensorView Rows(int64_t begin, int64_t count) const;
  // Columns [begin, begin + count) of every row: shape (rows, count), row_stride kept.
  TensorView Columns(int64_t begin, int64_t count) const;

 private:
  void CheckDType(DType expected) const;

  void* data_ = nullptr;
  DType dtype_ = DType::kFloat32;
  Shape shape_;
  int64_t row_stride_ = 0;
};

}  // namespace sluice
