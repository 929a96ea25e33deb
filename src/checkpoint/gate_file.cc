#include "checkpoint/gate_file.h"

#include <cmath>
#include <limits>
#include <span>

#include "absl/strings/str_cat.h"
#include "checkpoint/array_file.h"
#include "checkpoint/attention_file.h"
#include "checkpoint/checkpoint_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {
namespace {

constexpr char kHistogram[] = "histogram";
constexpr char kTokenClasses[] = "token_classes";
constexpr char kRejected[] = "rejected";
constexpr char kBatches[] = "batches";
constexpr char kCount[] = "count";
constexpr char kEntropy[] = "entropy";
constexpr char kShareBelow[] = "share_below_0.05";
constexpr char kShareAbove[] = "share_above_0.95";

struct RealStatistic {
  const char* name;
  double GateCell::*member;
};
constexpr RealStatistic kRealStatistics[] = {{"mean", &GateCell::mean},
                                             {"variance", &GateCell::variance},
                                             {"minimum", &GateCell::minimum},
                                             {"maximum", &GateCell::maximum},
                                             {kEntropy, &GateCell::entropy}};

template <typename T, typename Get>
std::vector<T> Column(const GateStatistics& gates, Get get) {
  std::vector<T> column;
  column.reserve(gates.cells.size());
  for (const GateCell& cell : gates.cells) column.push_back(get(cell));
  return column;
}

absl::Status ReadShare(const ArrayFileReader& file, const char* name, int64_t GateCell::*member,
                       GateStatistics& gates) {
  std::vector<double> shares(gates.cells.size());
  RETURN_IF_ERROR(file.Read(name, shares));
  for (size_t i = 0; i < shares.size(); ++i) {
    // Exact: a share is a quotient of integers below 2^52.
    if (!(shares[i] >= 0 && shares[i] <= 1)) {
      return CheckpointError("a share is not in [0, 1]", absl::StrCat(file.path(), "/", name));
    }
    gates.cells[i].*member = std::llround(shares[i] * static_cast<double>(gates.cells[i].count));
  }
  return absl::OkStatus();
}

absl::Status ReadCells(const ArrayFileReader& file, GateStatistics& gates) {
  std::vector<int64_t> integers(gates.cells.size());
  RETURN_IF_ERROR(file.Read(kCount, integers));
  for (size_t i = 0; i < integers.size(); ++i) gates.cells[i].count = integers[i];
  std::vector<double> reals(gates.cells.size());
  for (const RealStatistic& statistic : kRealStatistics) {
    if (statistic.name == kEntropy && file.Find(kEntropy) == nullptr) {
      reals.assign(reals.size(), std::numeric_limits<double>::quiet_NaN());
    } else {
      RETURN_IF_ERROR(file.Read(statistic.name, reals));
    }
    for (size_t i = 0; i < reals.size(); ++i) gates.cells[i].*statistic.member = reals[i];
  }
  RETURN_IF_ERROR(ReadShare(file, kShareBelow, &GateCell::count_below, gates));
  RETURN_IF_ERROR(ReadShare(file, kShareAbove, &GateCell::count_above, gates));
  std::vector<int64_t> histogram(gates.cells.size() * kGateHistogramBins);
  RETURN_IF_ERROR(file.Read(kHistogram, histogram));
  for (size_t i = 0; i < histogram.size(); ++i) {
    gates.cells[i / kGateHistogramBins].histogram[i % kGateHistogramBins] = histogram[i];
  }
  return absl::OkStatus();
}

absl::Status WriteGates(ArrayFileWriter& file, const GateStatistics& gates) {
  CHECK_EQ(static_cast<int64_t>(gates.cells.size()), gates.layers * gates.heads * gates.classes());
  RETURN_IF_ERROR(file.WriteTexts(kTokenClasses, gates.token_classes));
  RETURN_IF_ERROR(file.Write(kRejected, {1}, std::span(&gates.rejected, 1)));
  RETURN_IF_ERROR(file.Write(kBatches, {1}, std::span(&gates.batches, 1)));

  const std::vector<int64_t> dims = {gates.layers, gates.heads, gates.classes()};
  const auto counts = Column<int64_t>(gates, [](const GateCell& cell) { return cell.count; });
  RETURN_IF_ERROR(file.Write(kCount, dims, std::span(counts)));
  for (const RealStatistic& statistic : kRealStatistics) {
    const auto values =
        Column<double>(gates, [&](const GateCell& cell) { return cell.*statistic.member; });
    RETURN_IF_ERROR(file.Write(statistic.name, dims, std::span(values)));
  }
  const auto below = Column<double>(gates, [](const GateCell& cell) { return cell.share_below(); });
  RETURN_IF_ERROR(file.Write(kShareBelow, dims, std::span(below)));
  const auto above = Column<double>(gates, [](const GateCell& cell) { return cell.share_above(); });
  RETURN_IF_ERROR(file.Write(kShareAbove, dims, std::span(above)));

  std::vector<int64_t> histogram;
  for (const GateCell& cell : gates.cells) {
    histogram.insert(histogram.end(), cell.histogram.begin(), cell.histogram.end());
  }
  return file.Write(kHistogram, {gates.layers, gates.heads, gates.classes(), kGateHistogramBins},
                    std::span<const int64_t>(histogram));
}

absl::StatusOr<GateStatistics> ReadGates(const ArrayFileReader& file) {
  GateStatistics gates;
  if (file.Find(kTokenClasses) == nullptr) return gates;
  ASSIGN_OR_RETURN(gates.token_classes, file.ReadTexts(kTokenClasses));
  RETURN_IF_ERROR(file.Read(kRejected, std::span(&gates.rejected, 1)));
  RETURN_IF_ERROR(file.Read(kBatches, std::span(&gates.batches, 1)));
  const ArrayEntry* count = file.Find(kCount);
  if (count == nullptr || count->dims.size() != 3 || count->dims[2] != gates.classes() ||
      count->elements() > (int64_t{1} << 24)) {
    return CheckpointError("array is missing or has another shape",
                           absl::StrCat(file.path(), "/", kCount),
                           count == nullptr ? "" : count->ShapeText());
  }
  gates.layers = count->dims[0];
  gates.heads = count->dims[1];
  gates.cells.resize(count->elements());
  RETURN_IF_ERROR(ReadCells(file, gates));
  return gates;
}

}  // namespace

absl::Status WriteGateFile(const std::string& path, const GateStatistics& gates,
                           const AttentionStatistics& attention, const TelemetryState& state) {
  ASSIGN_OR_RETURN(ArrayFileWriter file, ArrayFileWriter::Create(path, kGatesKind));
  if (!gates.empty()) RETURN_IF_ERROR(WriteGates(file, gates));
  RETURN_IF_ERROR(WriteAttention(file, attention));
  RETURN_IF_ERROR(WriteTelemetryState(file, state));
  return file.Close();
}

absl::StatusOr<GateFile> ReadGateFile(const std::string& path) {
  ASSIGN_OR_RETURN(const ArrayFileReader file, ArrayFileReader::Open(path, kGatesKind));
  GateFile contents;
  ASSIGN_OR_RETURN(contents.gates, ReadGates(file));
  ASSIGN_OR_RETURN(contents.attention, ReadAttention(file));
  ASSIGN_OR_RETURN(contents.state, ReadTelemetryState(file));
  return contents;
}

}  // namespace sluice::checkpoint_internal
