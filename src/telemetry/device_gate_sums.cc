#include "telemetry/device_gate_sums.h"

#include <vector>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/status.h"
#include "ops/gate_sums.h"

namespace sluice {
namespace {

constexpr int64_t kWord = sizeof(int64_t);
// What fills extremes before there is one: below the encoding of every gate.
constexpr uint8_t kNoExtremeByte = 0x80;

}  // namespace

DeviceGateSums::DeviceGateSums(Arena& arena, Device& device, const Sizes& sizes, int64_t rows)
    : device_(device),
      sizes_(sizes),
      most_rows_(rows),
      memory_(arena.Reserve("gate statistics", MemoryPurpose::kScratch, DType::kInt64,
                            {kGateTotals + cells() * (kGateSums + 2)})),
      token_class_(arena.Reserve("token classes", MemoryPurpose::kScratch, DType::kInt64,
                                 {CeilDiv(rows, kWord)})) {}

absl::Status DeviceGateSums::Clear() {
  RETURN_IF_ERROR(device_.Fill(totals(), 0, (kGateTotals + cells() * kGateSums) * kWord));
  return device_.Fill(extremes(), kNoExtremeByte, cells() * 2 * kWord);
}

absl::Status DeviceGateSums::BeginBatch(std::span<const uint8_t> token_class) {
  rows_ = std::ssize(token_class);
  CHECK_LE(rows_, most_rows_);
  static_assert(kTotalRejected == kGateTotals - 1);
  RETURN_IF_ERROR(device_.Fill(totals(), 0, kTotalRejected * kWord));
  return device_.CopyToDevice(token_class_->data(), token_class.data(), rows_);
}

absl::Status DeviceGateSums::Add(ExecutionContext& context, int64_t layer,
                                 const TensorView& gates) {
  CHECK_EQ(gates.rows(), rows_);
  const int64_t first_cell = layer * sizes_.heads * sizes_.classes;
  return ops::AddGateSums(context, {.gate = gates.as<float>(),
                                    .token_class = static_cast<uint8_t*>(token_class_->data()),
                                    .sums = sums() + first_cell * kGateSums,
                                    .extremes = extremes() + first_cell * 2,
                                    .totals = totals(),
                                    .N = rows_,
                                    .H = sizes_.heads,
                                    .gates_per_head = gates.dim(-1) / sizes_.heads,
                                    .classes = sizes_.classes,
                                    .row_stride = gates.row_stride(),
                                    .below = kGateClosedBelow,
                                    .above = kGateOpenAbove});
}

absl::Status DeviceGateSums::MoveTo(GateAccumulator& accumulator) {
  std::vector<int64_t> all(memory_->elements());
  RETURN_IF_ERROR(device_.CopyToHost(all.data(), memory_->data(), std::ssize(all) * kWord));
  const std::span<const int64_t> words(all);
  accumulator.AddSums(words.subspan(kGateTotals, cells() * kGateSums),
                      words.subspan(kGateTotals + cells() * kGateSums), words.first(kGateTotals));
  return Clear();
}

}  // namespace sluice
