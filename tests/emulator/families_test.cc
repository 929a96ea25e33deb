#include "emulator/families.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "emulator/execute.h"
#include "gtest/gtest.h"

namespace sluice::emulator {
namespace {

std::mt19937 random_bits(1);

Floats RandomFloats(size_t count) {
  Floats values(count);
  for (float& value : values) value = std::uniform_real_distribution<float>(-4, 4)(random_bits);
  return values;
}
template <typename Half>
std::vector<Half> RandomHalves(size_t count) {
  std::vector<Half> values;
  for (const float value : RandomFloats(count)) values.push_back(Half(value));
  return values;
}

// Each test once more in every order of blocks and warps.
class FamiliesTest : public ::testing::TestWithParam<Order::Kind> {
 protected:
  void SetUp() override { SetOrder({GetParam(), 5}); }
  void TearDown() override { SetOrder({}); }
};

TEST_P(FamiliesTest, Memory) {
  std::vector<uint8_t> x(64);
  for (uint8_t& byte : x) byte = static_cast<uint8_t>(random_bits());
  const Words out = RunMemory(x, 12345);
  uint32_t words[16];
  std::memcpy(words, x.data(), sizeof words);
  int sum = 0;
  for (int t = 0; t < 64; ++t) {
    sum += x[t] < 128 ? x[t] : x[t] - 256;
    EXPECT_EQ(static_cast<int>(out[t]), sum);
    EXPECT_EQ(out[64 + t], x[0]);
  }
  for (int t = 0; t < 16; ++t) {
    EXPECT_EQ(out[128 + t], words[t]);
    EXPECT_EQ(out[144 + t], words[t] * 12345u);
  }
}

TEST_P(FamiliesTest, Atomics) {
  const Words out = RunAtomics();
  EXPECT_EQ(out[0], 1024u * 1023 / 2);
  EXPECT_EQ(out[4], 1023u);
  EXPECT_EQ(out[8], 0x7fffffffu);
  EXPECT_EQ(out[10], 0u) << "xor of 0 … 1023";
  EXPECT_EQ(out[1], 256u * 255 / 2);
  EXPECT_EQ(static_cast<int>(out[3]), -255);
  EXPECT_EQ(out[5], 255u);
  EXPECT_EQ(out[7], 0u);
  EXPECT_EQ(out[9], 0x7fffffffu);
  EXPECT_EQ(out[11], 0u) << "xor of 0 … 255";
  EXPECT_EQ(out[13], 256u % 100);
  EXPECT_EQ(out[15], 256u);
  EXPECT_TRUE(out[17] >= 1 && out[17] <= 256) << out[17];
}

TEST_P(FamiliesTest, AtomicsOnFloats) {
  EXPECT_EQ(RunFloatAtomics(), (Floats{524800, 524800, 4, 8}));
}

TEST_P(FamiliesTest, Warp) {
  Words x(32);
  for (uint32_t& value : x) value = random_bits() % 7;
  const Words out = RunWarp(x);
  uint32_t odd = 0, sum = 0, all_xor = 0, positive = 0;
  for (int lane = 0; lane < 32; ++lane) {
    odd |= (x[lane] % 2) << lane;
    sum += x[lane];
    all_xor ^= x[lane];
    positive += x[lane] > 0;
  }
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t same = 0;
    for (int other = 0; other < 32; ++other) same |= uint32_t{x[other] == x[lane]} << other;
    const uint32_t expected[12] = {x[lane < 3 ? lane : lane - 3],
                                   x[lane + 5 > 31 ? lane : lane + 5],
                                   x[lane ^ 9],
                                   x[7],
                                   x[lane % 8 + 2 > 7 ? lane : lane + 2],
                                   odd,
                                   positive > 0 ? 1u : 0u,
                                   positive == 32 ? 1u : 0u,
                                   same,
                                   sum,
                                   *std::min_element(x.begin(), x.end()),
                                   all_xor};
    for (int k = 0; k < 12; ++k) EXPECT_EQ(out[k * 32 + lane], expected[k]) << k << ", " << lane;
  }
}

template <typename Half>
void ExpectProduct() {
  const auto a = RandomHalves<Half>(16 * 16), b = RandomHalves<Half>(16 * 8);
  const Floats c = RandomFloats(16 * 8), d = RunMatrix(a, b, c);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 8; ++x) {
      double sum = c[y * 8 + x], magnitude = std::abs(sum);
      for (int k = 0; k < 16; ++k) {
        const double product = static_cast<double>(a[y * 16 + k]) * b[k * 8 + x];
        sum += product;
        magnitude += std::abs(product);
      }
      EXPECT_NEAR(d[y * 8 + x], sum, 17 * 0x1p-24 * magnitude) << y << ", " << x;
    }
  }
}
TEST_P(FamiliesTest, Matrices) {
  ExpectProduct<bf16>();
  ExpectProduct<fp16>();
}

TEST_P(FamiliesTest, AsynchronousCopies) {
  const Floats x = RandomFloats(256), y = RunAsyncCopy(x);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(y[i], i % 128 > 124 ? 0 : x[i]) << i;
}

TEST_P(FamiliesTest, Divergence) {
  const Words out = RunDivergence();
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(out[t], t % 5 == 0 ? 0 : t * (t + 1) / 2) << t;
}

TEST_P(FamiliesTest, NamedBarriers) {
  const Floats x = RandomFloats(256), y = RunNamedBarriers(x);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(y[i], 2 * x[255 - i]) << i;
}

TEST_P(FamiliesTest, BarrierVotes) {
  for (const uint32_t least : {0u, 3u, 6u}) {
    Words x(96);
    for (uint32_t& value : x) value = least + random_bits() % 3;
    const auto count = [&](auto condition) { return std::count_if(x.begin(), x.end(), condition); };
    const Words out = RunBarrierVotes(x);
    for (int t = 0; t < 96; ++t) {
      EXPECT_EQ(out[t], count([](uint32_t value) { return value % 2 != 0; }));
      EXPECT_EQ(out[96 + t], least > 2 ? 1u : 0u);
      EXPECT_EQ(out[192 + t], count([](uint32_t value) { return value == 5; }) > 0 ? 1u : 0u);
    }
  }
}

template <typename Half>
void ExpectHalves() {
  const auto a = RandomHalves<Half>(200), b = RandomHalves<Half>(200), c = RandomHalves<Half>(200);
  const std::vector<Half> out = RunHalves(a, b, c);
  for (int i = 0; i < 200; ++i) {
    const float x = a[i], y = b[i], z = c[i];
    const float expected[9] = {
        x + y,          x - y, x * y,       std::fma(x, y, z),  std::min(x, y),
        std::max(x, y), -x,    std::abs(x), x < y ? 1.0f : 0.0f};
    for (int k = 0; k < 9; ++k) EXPECT_EQ(out[k * 200 + i].bits, Half(expected[k]).bits) << k;
  }
}
TEST_P(FamiliesTest, Halves) {
  ExpectHalves<bf16>();
  ExpectHalves<fp16>();
}

INSTANTIATE_TEST_SUITE_P(Orders, FamiliesTest,
                         ::testing::Values(Order::kForward, Order::kReverse, Order::kRandom));

}  // namespace
}  // namespace sluice::emulator
