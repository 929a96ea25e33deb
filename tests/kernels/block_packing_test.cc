// The layouts that products read, element by element, on each instruction set.
#include "kernels/cpu/block_packing.h"

#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/integer_math.h"
#include "gtest/gtest.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

template <typename T>
class BlockPackingTest : public ::testing::Test {};
using StorageTypes = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(BlockPackingTest, StorageTypes);

struct PackedMatrix {
  int64_t inner, columns;
  bool inner_is_adjacent;
  int64_t padding;  // elements between rows
};

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }
uint32_t Bits(bf16 value) { return value.bits; }

// Any bits, NaN too.
template <typename T>
T FromBits(uint64_t bits) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits));
  } else {
    bf16 value;
    value.bits = static_cast<uint16_t>(bits);
    return value;
  }
}

// Where the header says that element (i, c) lies.
template <typename T>
int64_t Place(int64_t i, int64_t c, int64_t padded_inner) {
  constexpr int64_t kWord = 4 / sizeof(T);
  const int64_t block = c / 64 * (padded_inner / (16 * kWord)) + i / (16 * kWord);
  return block * 16 * 64 * kWord + kWord * (i % (16 * kWord) / kWord * 64 + c % 64) + i % kWord;
}

template <typename T>
void ExpectPacked(const PackedMatrix& shape) {
  const int64_t row = (shape.inner_is_adjacent ? shape.inner : shape.columns) + shape.padding;
  const int64_t rows = shape.inner_is_adjacent ? shape.columns : shape.inner;
  const int64_t inner_stride = shape.inner_is_adjacent ? 1 : row;
  const int64_t column_stride = shape.inner_is_adjacent ? row : 1;
  std::vector<T> matrix(rows * row);
  for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = FromBits<T>(i * 2654435761u + 1);
  const int64_t padded_inner = RoundUp(shape.inner, 64 / static_cast<int64_t>(sizeof(T)));
  const int64_t padded_columns = RoundUp(shape.columns, 64);
  constexpr int64_t kLine = 64 / sizeof(T);
  struct alignas(64) Line {
    T elements[kLine];
  };
  std::vector<Line> memory(padded_inner * padded_columns / kLine);
  for (Line& line : memory) {
    for (T& element : line.elements) element = FromBits<T>(0x7fff7fff);
  }
  cpu::PackBlocks<T>({.matrix = matrix.data(),
                      .packed = memory[0].elements,
                      .inner = shape.inner,
                      .columns = shape.columns,
                      .inner_stride = inner_stride,
                      .column_stride = column_stride});
  for (int64_t i = 0; i < padded_inner; ++i) {
    for (int64_t c = 0; c < padded_columns; ++c) {
      const int64_t at = Place<T>(i, c, padded_inner);
      const bool inside = i < shape.inner && c < shape.columns;
      const uint32_t expected =
          inside ? Bits(matrix[i * inner_stride + c * column_stride]) : uint32_t{0};
      ASSERT_EQ(Bits(memory[at / kLine].elements[at % kLine]), expected) << i << ", " << c;
    }
  }
}

TYPED_TEST(BlockPackingTest, EveryElementAndZerosBeyond) {
  testing::OnEachInstructionSet([] {
    for (const bool inner_is_adjacent : {false, true}) {
      for (const int64_t padding : {0, 1, 6}) {
        ExpectPacked<TypeParam>({64, 128, inner_is_adjacent, padding});
        ExpectPacked<TypeParam>({33, 65, inner_is_adjacent, padding});
        ExpectPacked<TypeParam>({95, 190, inner_is_adjacent, padding});
        ExpectPacked<TypeParam>({1, 1, inner_is_adjacent, padding});
      }
    }
  });
}

}  // namespace
}  // namespace sluice
