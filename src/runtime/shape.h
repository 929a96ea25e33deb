// Up to five dimensions, outermost first.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>

namespace sluice {

class Shape {
 public:
  static constexpr int kMaxRank = 5;

  Shape() = default;  // rank 0: one element
  Shape(std::initializer_list<int64_t> dims);

  int rank() const { return rank_; }
  int64_t dim(int axis) const;   // axis >= 0 from the front, < 0 from the back
  int64_t elements() const;      // product of all dims; CHECKs that it fits 63 bits
  int64_t rows() const;          // product of all dims but the last
  std::string ToString() const;  // "(16, 128, 768)"

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace sluice
