#include "telemetry/gate_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/single_communicator.h"
#include "comm/thread_communicator.h"
#include "support/compare.h"

namespace sluice {
namespace {

constexpr int64_t kLayers = 2, kHeads = 3, kRows = 500;
constexpr int kClasses = 2;

struct Gates {
  std::vector<float> values;         // (layers, rows, heads)
  std::vector<uint8_t> token_class;  // (rows)
};

// Gates of all kinds: spread, closed, open, exactly 0 and 1, on bin edges, tiny.
Gates MakeGates(uint64_t seed) {
  Gates gates;
  const std::vector<double> random = testing::RandomValues(kLayers * kRows * kHeads, seed, 0, 1);
  for (size_t i = 0; i < random.size(); ++i) {
    double value = random[i];
    if (i % 7 == 1) value = std::pow(value, 40);
    if (i % 7 == 2) value = 1 - 1e-4 * value;
    if (i % 7 == 3) value = std::floor(value * 65) / 64;
    gates.values.push_back(static_cast<float>(std::min(value, 1.0)));
  }
  for (int64_t row = 0; row < kRows; ++row) {
    gates.token_class.push_back(row % 11 == 0 ? kUncountedToken : row % 5 == 0 ? 1 : 0);
  }
  return gates;
}

// The definition, in double, two passes.
GateCell NaiveCell(const Gates& gates, int64_t layer, int64_t head, int token_class) {
  std::vector<double> values;
  for (int64_t row = 0; row < kRows; ++row) {
    const uint8_t of_row = gates.token_class[row];
    if (of_row == kUncountedToken || (token_class >= 0 && of_row != token_class)) continue;
    values.push_back(gates.values[(layer * kRows + row) * kHeads + head]);
  }
  GateCell cell;
  cell.count = static_cast<int64_t>(values.size());
  for (const double value : values) cell.mean += value / static_cast<double>(cell.count);
  for (const double value : values) {
    cell.variance += (value - cell.mean) * (value - cell.mean) / static_cast<double>(cell.count);
    if (value > 0 && value < 1) {
      cell.entropy -= (value * std::log(value) + (1 - value) * std::log1p(-value)) /
                      static_cast<double>(cell.count);
    }
    cell.count_below += value < 0.05;
    cell.count_above += value > 0.95;
    for (int bin = 0; bin < kGateHistogramBins; ++bin) {
      const bool is_last = bin == kGateHistogramBins - 1;
      cell.histogram[bin] += value >= bin / 64.0 && (value < (bin + 1) / 64.0 || is_last);
    }
  }
  cell.minimum = *std::ranges::min_element(values);
  cell.maximum = *std::ranges::max_element(values);
  return cell;
}

void AddRows(const Gates& gates, int64_t begin, int64_t end, GateAccumulator& accumulator) {
  accumulator.BeginBatch();
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    accumulator.Add(layer, &gates.values[(layer * kRows + begin) * kHeads], kHeads, 1,
                    std::span(gates.token_class).subspan(begin, end - begin));
  }
}

GateAccumulator MakeAccumulator() { return GateAccumulator(kLayers, kHeads, {"zero", "one"}); }

TEST(GateStatisticsTest, IsTheNaiveDefinition) {
  const Gates gates = MakeGates(1);
  GateAccumulator accumulator = MakeAccumulator();
  AddRows(gates, 0, kRows, accumulator);
  const GateStatistics statistics = accumulator.Statistics();
  ASSERT_EQ(statistics.token_classes, (std::vector<std::string>{"all", "zero", "one"}));
  std::vector<double> means, naive_means, variances, naive_variances;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    for (int64_t head = 0; head < kHeads; ++head) {
      for (int k = 0; k < 1 + kClasses; ++k) {
        const GateCell cell = statistics.cell(layer, head, k);
        const GateCell naive = NaiveCell(gates, layer, head, k - 1);
        EXPECT_EQ(cell.count, naive.count);
        EXPECT_EQ(cell.minimum, naive.minimum);
        EXPECT_EQ(cell.maximum, naive.maximum);
        EXPECT_EQ(cell.count_below, naive.count_below);
        EXPECT_EQ(cell.count_above, naive.count_above);
        EXPECT_EQ(cell.histogram, naive.histogram);
        EXPECT_NEAR(cell.entropy, naive.entropy, 0x1p-47 + 500 * 0x1p-53);
        means.push_back(cell.mean);
        naive_means.push_back(naive.mean);
        variances.push_back(cell.variance);
        naive_variances.push_back(naive.variance);
      }
    }
  }
  testing::ExpectClose("mean", means, naive_means,
                       {.absolute = 0x1p-49 + 500 * 0x1p-53,
                        .derivation = "units of 2^-48, rounded; naive sum of 500 in double"});
  testing::ExpectClose("variance", variances, naive_variances,
                       {.absolute = 0x1p-47 + 1000 * 0x1p-53,
                        .derivation = "mean square 2^-49, twice the mean's; naive sum in double"});
}

// Batches, order and ranks leave no trace: the record has the same bits.
TEST(GateStatisticsTest, DoesNotDependOnHowRowsAreSplit) {
  const Gates gates = MakeGates(2);
  GateAccumulator whole = MakeAccumulator();
  AddRows(gates, 0, kRows, whole);
  GateStatistics expected = whole.Statistics();
  GateAccumulator parts = MakeAccumulator();
  for (const int64_t begin : {300, 0, 450, 100}) {
    AddRows(gates, begin, begin == 0 ? 100 : begin == 100 ? 300 : begin == 300 ? 450 : 500, parts);
  }
  expected.batches = 4;
  EXPECT_EQ(parts.Statistics(), expected);
  for (const int ranks : {1, 2, 3, 5}) {
    RunRanks(ranks, [&](Communicator& comm) {
      GateAccumulator mine = MakeAccumulator();
      AddRows(gates, kRows * comm.rank() / ranks, kRows * (comm.rank() + 1) / ranks, mine);
      ASSERT_TRUE(mine.Merge(comm).ok());
      GateStatistics merged = mine.Statistics();
      EXPECT_EQ(merged.batches, ranks);
      merged.batches = 4;
      EXPECT_EQ(merged, expected) << ranks << " ranks";
    });
  }
}

TEST(GateStatisticsTest, ARankWithoutRowsChangesNothing) {
  const Gates gates = MakeGates(3);
  GateAccumulator alone = MakeAccumulator();
  AddRows(gates, 0, 50, alone);
  RunRanks(2, [&](Communicator& comm) {
    GateAccumulator mine = MakeAccumulator();
    if (comm.rank() == 1) AddRows(gates, 0, 50, mine);
    ASSERT_TRUE(mine.Merge(comm).ok());
    EXPECT_EQ(mine.Statistics(), alone.Statistics());
  });
}

TEST(GateStatisticsTest, RejectsWhatIsNoGate) {
  GateAccumulator accumulator(1, 1, {"x"});
  accumulator.BeginBatch();
  EXPECT_EQ(accumulator.BatchMean(), -1);
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.5f, NAN, infinity, -infinity, -0.1f, 1.0001f, -0.0f, 1.0f};
  accumulator.Add(0, values.data(), 1, 1, std::vector<uint8_t>(values.size(), 0));
  const GateStatistics statistics = accumulator.Statistics();
  EXPECT_EQ(statistics.rejected, 5);
  const GateCell& cell = statistics.cell(0, 0);
  EXPECT_EQ(cell.count, 3);
  EXPECT_EQ(cell.mean, 0.5);
  EXPECT_EQ(cell.minimum, 0.0);
  EXPECT_FALSE(std::signbit(cell.minimum));
  EXPECT_EQ(cell.maximum, 1.0);
  EXPECT_EQ(accumulator.BatchMean(), 0.5);
  EXPECT_EQ(cell.histogram[0] + cell.histogram[32] + cell.histogram[63], 3);
}

TEST(GateStatisticsTest, AConstantGateHasNoVariance) {
  for (const float value : {0.0f, 1e-3f, 0.3f, 0.999f, 1.0f}) {
    GateAccumulator accumulator(1, 1, {"x"});
    accumulator.BeginBatch();
    const std::vector<float> values(10000, value);
    accumulator.Add(0, values.data(), 1, 1, std::vector<uint8_t>(values.size(), 0));
    const GateCell cell = accumulator.Statistics().cell(0, 0);
    EXPECT_NEAR(cell.mean, value, 0x1p-49);
    EXPECT_LE(cell.variance, 0x1p-47);
    EXPECT_GE(cell.variance, 0);
  }
}

TEST(GateStatisticsTest, ResetBeginsAnew) {
  const Gates gates = MakeGates(4);
  GateAccumulator accumulator = MakeAccumulator();
  EXPECT_TRUE(accumulator.Statistics().empty());
  AddRows(gates, 0, 10, accumulator);
  SingleCommunicator comm;
  ASSERT_TRUE(accumulator.Merge(comm).ok());
  EXPECT_DEATH(accumulator.BeginBatch(), "merged_");
  accumulator.Reset();
  EXPECT_TRUE(accumulator.Statistics().empty());
  AddRows(gates, 10, 30, accumulator);
  GateAccumulator fresh = MakeAccumulator();
  AddRows(gates, 10, 30, fresh);
  EXPECT_EQ(accumulator.Statistics(), fresh.Statistics());
}

TEST(GateStatisticsTest, ReadsRowsApart) {
  // Two heads in rows of five values; the rest is no gate.
  const std::vector<float> values = {0.25f, 0.5f, 9, 9, 9, 0.75f, 1, 9, 9, 9};
  GateAccumulator accumulator(1, 2, {"x"});
  accumulator.BeginBatch();
  accumulator.Add(0, values.data(), 5, 1, std::vector<uint8_t>{0, 0});
  const GateStatistics statistics = accumulator.Statistics();
  EXPECT_EQ(statistics.rejected, 0);
  EXPECT_EQ(statistics.cell(0, 0).mean, 0.5);
  EXPECT_EQ(statistics.cell(0, 1).mean, 0.75);
}

}  // namespace
}  // namespace sluice
