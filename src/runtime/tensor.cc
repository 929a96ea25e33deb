#include "runtime/tensor.h"

#include "core/check.h"

namespace sluice {

TensorView::TensorView(void* data, DType dtype, const Shape& shape)
    : TensorView(data, dtype, shape, shape.rank() == 0 ? 1 : shape.dim(-1)) {}

TensorView::TensorView(void* data, DType dtype, const Shape& shape, int64_t row_stride)
    : data_(data), dtype_(dtype), shape_(shape), row_stride_(row_stride) {
  if (shape.rank() > 0) CHECK_GE(row_stride, shape.dim(-1));
}

bool TensorView::contiguous() const {
  return shape_.rank() == 0 || row_stride_ == shape_.dim(-1) || shape_.rows() <= 1;
}

TensorView TensorView::Prefix(const Shape& shape) const {
  if (null()) return TensorView();
  CHECK(contiguous());
  CHECK_LE(shape.elements(), elements()) << shape << " of " << shape_;
  return TensorView(data_, dtype_, shape);
}

TensorView TensorView::Rows(int64_t begin, int64_t count) const {
  if (null()) return TensorView();
  CHECK(begin >= 0 && count >= 0 && begin + count <= rows())
      << begin << "+" << count << " of " << shape_;
  return TensorView(static_cast<char*>(data_) + begin * row_stride_ * SizeOf(dtype_), dtype_,
                    {count, shape_.dim(-1)}, row_stride_);
}

TensorView TensorView::Columns(int64_t begin, int64_t count) const {
  if (null()) return TensorView();
  CHECK(begin >= 0 && count >= 0 && begin + count <= shape_.dim(-1))
      << begin << "+" << count << " of " << shape_;
  return TensorView(static_cast<char*>(data_) + begin * SizeOf(dtype_), dtype_, {rows(), count},
                    row_stride_);
}

void TensorView::CheckDType(DType expected) const {
  CHECK(dtype_ == expected) << DTypeName(dtype_) << " vs. " << DTypeName(expected) << " " << shape_;
}

}  // namespace sluice
