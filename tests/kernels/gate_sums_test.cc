#include "kernels/api/gate_sums.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "core/binary_entropy.h"
#include "gtest/gtest.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using ::sluice::testing::BackendVector;
using ::sluice::testing::Cast;
using ::sluice::testing::kOnCuda;
using ::sluice::testing::RandomValues;

struct Case {
  int64_t N, H, gates_per_head, classes, further;  // columns between rows
};

double EntropyOf(const int64_t* sums) {
  return static_cast<double>(sums[kGateEntropyHigh]) * 0x1p-24 +
         static_cast<double>(sums[kGateEntropyLow]) * 0x1p-48;
}

// What is summed into, not empty: everything is added to.
struct Record {
  BackendVector<int64_t> sums, extremes, totals;

  explicit Record(const Case& c)
      : sums(c.H * c.classes * kGateSums, 3),
        extremes(c.H * c.classes * 2, std::numeric_limits<int64_t>::min()),
        totals(kGateTotals, 5) {}
};

BackendVector<float> Gates(const Case& c) {
  const int64_t width = c.H * c.gates_per_head + c.further;
  const auto random = Cast<float>(RandomValues(c.N * width, 11, 0, 1));
  BackendVector<float> gates(random.begin(), random.end());
  // Where bins, thresholds and the range end, what rounds to half a unit, and what is no gate.
  const float edges[] = {0.0f,
                         -0.0f,
                         1.0f,
                         0.05f,
                         std::nextafter(0.05f, 0.0f),
                         0.95f,
                         std::nextafter(0.95f, 1.0f),
                         1.0f / 64,
                         std::nextafter(1.0f, 0.0f),
                         0x1p-49f,
                         0x1.8p-25f,
                         0x1p-140f,
                         std::nanf(""),
                         -1e-9f,
                         1.0001f};
  for (size_t i = 0; i < gates.size(); i += 3) gates[i] = edges[i / 3 % std::size(edges)];
  return gates;
}

BackendVector<uint8_t> Classes(const Case& c) {
  BackendVector<uint8_t> classes(c.N);
  for (int64_t n = 0; n < c.N; ++n) {
    classes[n] = n % 7 == 5 ? kUncountedToken : static_cast<uint8_t>(n * n % c.classes);
  }
  return classes;
}

GateSumsArgs Arguments(const Case& c, const BackendVector<float>& gates,
                       const BackendVector<uint8_t>& classes, Record& record) {
  return {.gate = gates.data(),
          .token_class = classes.data(),
          .sums = record.sums.data(),
          .extremes = record.extremes.data(),
          .totals = record.totals.data(),
          .N = c.N,
          .H = c.H,
          .gates_per_head = c.gates_per_head,
          .classes = c.classes,
          .row_stride = c.H * c.gates_per_head + c.further,
          .below = 0.05,
          .above = 0.95};
}

absl::Status RunOnBackend(const GateSumsArgs& args) {
  if (!kOnCuda) return cpu::GateSums(args);
  return testing::RunOnBackend([&](cuda::Stream stream) { return cuda::GateSums(args, stream); });
}

TEST(GateSumsTest, ByHand) {
  const BackendVector<float> gates = {0.25f, 0.5f, 1.0f, 2.0f};
  const BackendVector<uint8_t> classes = {1, 1, kUncountedToken, 1};
  const Case c = {.N = 4, .H = 1, .gates_per_head = 1, .classes = 2, .further = 0};
  Record record(c);
  ASSERT_TRUE(RunOnBackend(Arguments(c, gates, classes, record)).ok());
  const int64_t* cell = &record.sums[kGateSums];
  EXPECT_EQ(record.sums[kGateCount], 3);  // class 0 has none
  EXPECT_EQ(cell[kGateCount], 3 + 2);
  EXPECT_EQ(cell[kGateValueHigh], 3 + (3 << 22));   // 0.75 · 2^24
  EXPECT_EQ(cell[kGateSquareHigh], 3 + (5 << 20));  // 0.3125 · 2^24
  EXPECT_EQ(cell[kGateValueLow], 3);
  // h(1/4) + h(1/2) = (2 ln 2 - 3/4 ln 3) + ln 2
  const double entropy = 3 * std::log(2) - 0.75 * std::log(3);
  EXPECT_NEAR(EntropyOf(cell) - EntropyOf(record.sums.data()), entropy, 2 * 0x1p-48);
  EXPECT_EQ(cell[kGateHistogram + 16], 3 + 1);
  EXPECT_EQ(cell[kGateHistogram + 32], 3 + 1);
  EXPECT_EQ(record.extremes[2], std::bit_cast<int32_t>(0.5f));
  EXPECT_EQ(record.extremes[3], -std::bit_cast<int32_t>(0.25f));
  EXPECT_EQ(record.totals[kTotalCount], 5 + 2);
  EXPECT_EQ(record.totals[kTotalRejected], 5 + 1);
}

TEST(GateSumsTest, SameNumbersAsTheReference) {
  testing::OnEachInstructionSet([] {
    for (const Case& c :
         {Case{1, 1, 1, 1, 0}, Case{255, 3, 1, 4, 0}, Case{257, 2, 1, 7, 5}, Case{600, 12, 1, 8, 0},
          Case{70, 2, 5, 3, 1}, Case{0, 2, 1, 3, 0}, Case{5, 6, 64, 3, 0}, Case{5, 3, 100, 2, 5}}) {
      SCOPED_TRACE(::testing::Message() << "N " << c.N << " H " << c.H << " per head "
                                        << c.gates_per_head << " classes " << c.classes);
      const auto gates = Gates(c);
      const auto classes = Classes(c);
      Record actual(c), expected(c);
      for (int times = 0; times < 2; ++times) {
        ASSERT_TRUE(RunOnBackend(Arguments(c, gates, classes, actual)).ok());
        reference::GateSums(Arguments(c, gates, classes, expected));
      }
      // The reference's logarithm is another one.
      for (int64_t cell = 0; cell < c.H * c.classes; ++cell) {
        int64_t *got = &actual.sums[cell * kGateSums], *want = &expected.sums[cell * kGateSums];
        const auto gates_of_cell = static_cast<double>(want[kGateCount] - 3);
        EXPECT_NEAR(EntropyOf(got), EntropyOf(want), gates_of_cell * 3 * 0x1p-48) << cell;
        for (const int k : {kGateEntropyHigh, kGateEntropyLow}) got[k] = want[k] = 0;
      }
      EXPECT_EQ(actual.sums, expected.sums);
      EXPECT_EQ(actual.extremes, expected.extremes);
      EXPECT_EQ(actual.totals, expected.totals);
    }
  });
}

TEST(GateSumsTest, EntropyIsExactToUnitsOf48Bits) {
  const auto expect_near = [](float gate, double entropy) {
    EXPECT_NEAR(BinaryEntropy<double>(gate), entropy, 0x1p-48) << gate;
  };
  for (const float gate : {0.0f, 1.0f}) EXPECT_EQ(BinaryEntropy<double>(gate), 0);
  expect_near(0.5f, std::log(2));
  std::vector<double> gates = RandomValues(2000, 5, 0, 1);
  for (size_t i = 0; i < 1000; ++i) gates[i] = std::pow(gates[i], 1 + static_cast<double>(i % 60));
  for (const double value : gates) {
    const auto gate = static_cast<float>(value);
    const long double g = gate;
    if (gate <= 0 || gate >= 1) continue;
    expect_near(gate, static_cast<double>(-g * std::log(g) - (1 - g) * std::log1p(-g)));
  }
}

// Whatever the device and its vectors: the function of the header, to the bit.
TEST(GateSumsTest, EntropiesHaveTheSameBitsEverywhere) {
  const Case c = {.N = 700, .H = 3, .gates_per_head = 1, .classes = 1, .further = 0};
  const auto random = Cast<float>(RandomValues(c.N * c.H, 13, 0, 1));
  const BackendVector<float> gates(random.begin(), random.end());
  const BackendVector<uint8_t> classes(c.N, 0);
  std::vector<int64_t> units(c.H);
  for (int64_t i = 0; i < c.N * c.H; ++i) {
    units[i % c.H] += static_cast<int64_t>(BinaryEntropy<double>(gates[i]) * kGateUnits + 0.5);
  }
  testing::OnEachInstructionSet([&] {
    Record record(c);
    ASSERT_TRUE(RunOnBackend(Arguments(c, gates, classes, record)).ok());
    for (int64_t h = 0; h < c.H; ++h) {
      const int64_t* sums = &record.sums[h * kGateSums];
      EXPECT_EQ(((sums[kGateEntropyHigh] - 3) << kGateHalfBits) + sums[kGateEntropyLow] - 3,
                units[h]);
    }
  });
}

}  // namespace
}  // namespace sluice
