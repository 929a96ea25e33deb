// Each instruction of the lists, on edge values and random ones, against the list's expression.
#include "emulator/opcodes.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "core/bf16.h"
#include "core/fp16.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

using U = uint32_t;
using S = int32_t;
using W = uint64_t;
using SW = int64_t;

U ReverseBits(U value) {
  U out = 0;
  for (int bit = 0; bit < 32; ++bit) out = out << 1 | (value >> bit & 1);
  return out;
}
W MultiplyHigh64(W a, W b) {  // by halves
  const W middle = (a >> 32) * U(b) + (W(U(a)) * U(b) >> 32);
  const W low_middle = W(U(a)) * (b >> 32) + U(middle);
  return (a >> 32) * (b >> 32) + (middle >> 32) + (low_middle >> 32);
}
S SaturateToInt(float value) {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p31f) return std::numeric_limits<S>::max();
  return value < -0x1p31f ? std::numeric_limits<S>::min() : static_cast<S>(value);
}

template <typename T>
struct Operands {
  std::vector<T> a, b, c;
};

// All triples of edge values, then random ones.
template <typename T, typename Random>
Operands<T> MakeOperands(const std::vector<T>& edges, Random random) {
  Operands<T> out;
  for (const T a : edges) {
    for (const T b : edges) {
      for (const T c : edges) {
        out.a.push_back(a);
        out.b.push_back(b);
        out.c.push_back(c);
      }
    }
  }
  for (int i = 0; i < 500; ++i) {
    out.a.push_back(random());
    out.b.push_back(random());
    out.c.push_back(random());
  }
  return out;
}

template <typename T>
struct Expected {
  const char* text;
  T (*value)(T a, T b, T c);
};
#define SLUICE_EXPECT(T, text, value)                                                           \
  Expected<T>{text, []([[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T c) -> T { \
                return static_cast<T>(value);                                                   \
              }},
#define SLUICE_EXPECT_U32(text, value) SLUICE_EXPECT(uint32_t, text, value)
#define SLUICE_EXPECT_U64(text, value) SLUICE_EXPECT(uint64_t, text, value)
#define SLUICE_EXPECT_F32(text, value) SLUICE_EXPECT(float, text, value)

template <typename T, typename Equal>
void ExpectAll(const std::vector<Expected<T>>& expected, const Operands<T>& operands,
               const std::vector<T>& results, const Equal& equal) {
  const size_t count = operands.a.size();
  ASSERT_EQ(results.size(), expected.size() * count);
  for (size_t k = 0; k < expected.size(); ++k) {
    for (size_t i = 0; i < count; ++i) {
      const T a = operands.a[i], b = operands.b[i], c = operands.c[i];
      const T actual = results[k * count + i], wanted = expected[k].value(a, b, c);
      ASSERT_TRUE(equal(actual, wanted)) << expected[k].text << " of " << a << ", " << b << ", "
                                         << c << " is " << actual << ", expected " << wanted;
    }
  }
}

TEST(OpcodesTest, IntegersOf32Bits) {
  std::mt19937 random(1);
  const auto operands =
      MakeOperands<U>({0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0xdeadbeef},
                      [&] { return static_cast<U>(random()); });
  ExpectAll<U>({SLUICE_OPCODES_U32(SLUICE_EXPECT_U32)}, operands,
               RunU32(operands.a, operands.b, operands.c), std::equal_to<U>());
}

TEST(OpcodesTest, IntegersOf64Bits) {
  std::mt19937_64 random(2);
  const auto operands = MakeOperands<W>({0, 1, 63, 64, W(1) << 63, ~W(0), 0x0123456789abcdef},
                                        [&] { return random(); });
  ExpectAll<W>({SLUICE_OPCODES_U64(SLUICE_EXPECT_U64)}, operands,
               RunU64(operands.a, operands.b, operands.c), std::equal_to<W>());
}

TEST(OpcodesTest, Floats) {
  std::mt19937 random(3);
  const float infinity = std::numeric_limits<float>::infinity();
  const auto operands = MakeOperands<float>(
      {0.0f, -0.0f, 1.0f, -2.5f, 3.5f, 0.5f, 1e-40f, 65519.0f, 65520.0f, 3e38f, infinity, NAN},
      [&] { return std::uniform_real_distribution<float>(-1e4f, 1e4f)(random); });
  // The sign of a zero that is one of two zeros' least or greatest is open, and a NaN's bits are.
  const auto equal = [](float actual, float wanted) {
    return actual == wanted || (std::isnan(actual) && std::isnan(wanted));
  };
  ExpectAll<float>({SLUICE_OPCODES_F32(SLUICE_EXPECT_F32)}, operands,
                   RunF32(operands.a, operands.b, operands.c), equal);
}

TEST(OpcodesTest, ApproximateFunctions) {
  std::mt19937 random(4);
  const auto operands = MakeOperands<float>(
      {0.5f, 1.0f, 2.0f}, [&] { return std::uniform_real_distribution<float>(0.01f, 20)(random); });
  const auto equal = [](float actual, float wanted) {
    return std::abs(actual - wanted) <= 2e-7f * std::abs(wanted) + 1e-7f;
  };
  ExpectAll<float>({SLUICE_OPCODES_APPROXIMATE(SLUICE_EXPECT_F32)}, operands,
                   RunApproximate(operands.a, operands.b, operands.c), equal);
}

}  // namespace
}  // namespace sluice::emulator
