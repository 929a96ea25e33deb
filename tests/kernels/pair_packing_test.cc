// The layout that AMX products read, element by element, on each instruction set.
#include "kernels/cpu/pair_packing.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bf16.h"
#include "core/integer_math.h"
#include "gtest/gtest.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

struct PairMatrix {
  int64_t inner, columns;
  bool inner_is_adjacent;
  int64_t padding;  // elements between rows
};

void ExpectPairs(const PairMatrix& shape) {
  const int64_t row = (shape.inner_is_adjacent ? shape.inner : shape.columns) + shape.padding;
  const int64_t rows = shape.inner_is_adjacent ? shape.columns : shape.inner;
  const int64_t inner_stride = shape.inner_is_adjacent ? 1 : row;
  const int64_t column_stride = shape.inner_is_adjacent ? row : 1;
  std::vector<bf16> matrix(rows * row);
  for (size_t i = 0; i < matrix.size(); ++i) {
    matrix[i].bits = static_cast<uint16_t>(i * 40503 + 1);  // any bits, NaN too
  }
  const int64_t padded_inner = RoundUp(shape.inner, 32);
  const int64_t padded_columns = RoundUp(shape.columns, 64);
  struct alignas(64) Line {
    bf16 elements[32];
  };
  std::vector<Line> memory(padded_inner * padded_columns / 32);
  for (Line& line : memory) {
    for (bf16& element : line.elements) element.bits = 0x7fff;
  }
  cpu::PackPairs({.matrix = matrix.data(),
                  .packed = memory[0].elements,
                  .inner = shape.inner,
                  .columns = shape.columns,
                  .inner_stride = inner_stride,
                  .column_stride = column_stride});
  for (int64_t i = 0; i < padded_inner; ++i) {
    for (int64_t c = 0; c < padded_columns; ++c) {
      const int64_t block = c / 64 * (padded_inner / 32) + i / 32;
      const int64_t at = block * 2048 + 2 * (i % 32 / 2 * 64 + c % 64) + i % 2;
      const bool inside = i < shape.inner && c < shape.columns;
      const uint16_t expected =
          inside ? matrix[i * inner_stride + c * column_stride].bits : uint16_t{0};
      ASSERT_EQ(memory[at / 32].elements[at % 32].bits, expected) << i << ", " << c;
    }
  }
}

TEST(PairPackingTest, EveryElementAndZerosBeyond) {
  testing::OnEachInstructionSet([] {
    for (const bool inner_is_adjacent : {false, true}) {
      for (const int64_t padding : {0, 1, 6}) {
        ExpectPairs({64, 128, inner_is_adjacent, padding});
        ExpectPairs({33, 65, inner_is_adjacent, padding});
        ExpectPairs({95, 190, inner_is_adjacent, padding});
        ExpectPairs({1, 1, inner_is_adjacent, padding});
      }
    }
  });
}

}  // namespace
}  // namespace sluice
