#include "kernels/api/gate_sums.h"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

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
  EXPECT_EQ(cell[kGateHistogram + 16], 3 + 1);
  EXPECT_EQ(cell[kGateHistogram + 32], 3 + 1);
  EXPECT_EQ(record.extremes[2], std::bit_cast<int32_t>(0.5f));
  EXPECT_EQ(record.extremes[3], -std::bit_cast<int32_t>(0.25f));
  EXPECT_EQ(record.totals[kTotalCount], 5 + 2);
  EXPECT_EQ(record.totals[kTotalRejected], 5 + 1);
}

TEST(GateSumsTest, SameNumbersAsTheReference) {
  testing::OnEachInstructionSet([] {
    for (const Case& c : {Case{1, 1, 1, 1, 0}, Case{255, 3, 1, 4, 0}, Case{257, 2, 1, 7, 5},
                          Case{600, 12, 1, 8, 0}, Case{70, 2, 5, 3, 1}, Case{0, 2, 1, 3, 0}}) {
      SCOPED_TRACE(::testing::Message() << "N " << c.N << " H " << c.H << " per head "
                                        << c.gates_per_head << " classes " << c.classes);
      const auto gates = Gates(c);
      const auto classes = Classes(c);
      Record actual(c), expected(c);
      for (int times = 0; times < 2; ++times) {
        ASSERT_TRUE(RunOnBackend(Arguments(c, gates, classes, actual)).ok());
        reference::GateSums(Arguments(c, gates, classes, expected));
      }
      EXPECT_EQ(actual.sums, expected.sums);
      EXPECT_EQ(actual.extremes, expected.extremes);
      EXPECT_EQ(actual.totals, expected.totals);
    }
  });
}

}  // namespace
}  // namespace sluice
