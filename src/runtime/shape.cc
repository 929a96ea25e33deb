#include "runtime/shape.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"

namespace sluice {

Shape::Shape(std::initializer_list<int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  CHECK_LE(rank_, kMaxRank);
  std::copy(dims.begin(), dims.end(), dims_.begin());
  for (int64_t dim : dims) CHECK_GE(dim, 0);
}

int64_t Shape::dim(int axis) const {
  const int index = axis < 0 ? axis + rank_ : axis;
  CHECK(index >= 0 && index < rank_) << "axis " << axis << " of " << ToString();
  return dims_[index];
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) {
    CHECK(!__builtin_mul_overflow(product, dims_[axis], &product)) << ToString();
  }
  return product;
}

int64_t Shape::rows() const {
  CHECK_GE(rank_, 1);
  int64_t product = 1;
  for (int axis = 0; axis + 1 < rank_; ++axis) product *= dims_[axis];
  return product;
}

std::string Shape::ToString() const {
  return absl::StrCat("(", absl::StrJoin(dims_.begin(), dims_.begin() + rank_, ", "), ")");
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.ToString(); }

}  // namespace sluice
