// The elementwise middle of backward attention on one row of a block, over all segments that it
// sees, with a softmax, clipped or not, or without. A Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_DIFFERENTIATE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_DIFFERENTIATE_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_DIFFERENTIATE_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_DIFFERENTIATE_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/api/attention.h"
#include "kernels/cpu/attention_clip.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_relu.h"
#include "kernels/cpu/attention_softmax.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// Row r of a block in the strips, its first column the strips' first.
struct StripRow {
  int64_t r, dropout_row;
  float log_sum_exp;
  float gate;  // of the query, where it is one number
  float* row;
  float* drow;
};

// Row r of a block: scores → gated, dropped-out probabilities, and ⟨dout, v⟩ → gradient of the
// scores.
template <typename T>
RowSums DifferentiateStripRow(const AttentionBackwardArgs<T>& args, const DropoutStream& stream,
                              const cpu::QueryBlock& block, const StripRow& strip_row) {
  const bool drops = args.dropout.enabled();
  RowSums sums;
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[strip_row.r].empty()) continue;
    const StripColumns columns(segment.keys[strip_row.r], segment.origin);
    float* row = strip_row.row + segment.column;
    float* drow = strip_row.drow + segment.column;
    sums.dot += drops ? RecomputeDroppedRow(stream, strip_row.dropout_row, columns, segment.origin,
                                            strip_row.log_sum_exp, row, drow)
                      : RecomputeRow(columns, strip_row.log_sum_exp, row, drow);
  }
  sums.weighted = sums.dot;
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[strip_row.r].empty()) continue;
    const StripColumns columns(segment.keys[strip_row.r], segment.origin);
    DifferentiateRow(columns, sums.dot, strip_row.gate, stream.scale,
                     strip_row.row + segment.column, strip_row.drow + segment.column);
  }
  return sums;
}

// The same through the clip.
template <typename T>
RowSums DifferentiateClippedStripRow(const AttentionBackwardArgs<T>& args,
                                     const DropoutStream& stream, const cpu::QueryBlock& block,
                                     const StripRow& strip_row) {
  RowSums sums;
  const auto clipped_row = [&](const cpu::KeySegment& segment) {
    return ClippedRow{.columns = StripColumns(segment.keys[strip_row.r], segment.origin),
                      .origin = segment.origin,
                      .dropout_row = strip_row.dropout_row,
                      .log_sum_exp = strip_row.log_sum_exp,
                      .stretch = args.clip.zeta - args.clip.gamma,
                      .gamma = args.clip.gamma,
                      .row = strip_row.row + segment.column,
                      .drow = strip_row.drow + segment.column};
  };
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[strip_row.r].empty()) continue;
    const RowSums part =
        RecomputeClippedRow(args.dropout.enabled() ? &stream : nullptr, clipped_row(segment));
    sums.dot += part.dot;
    sums.weighted += part.weighted;
  }
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[strip_row.r].empty()) continue;
    DifferentiateClippedRow(clipped_row(segment), sums.dot, strip_row.gate, stream.scale);
  }
  return sums;
}

// The same without a softmax.
template <typename T>
RowSums DifferentiateRectifiedStripRow(const AttentionBackwardArgs<T>& args,
                                       const DropoutStream& stream, const cpu::QueryBlock& block,
                                       const StripRow& strip_row) {
  RowSums sums;
  const auto seen = static_cast<float>(KeysSeen(block, strip_row.r));
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[strip_row.r].empty()) continue;
    sums.weighted += DifferentiateRectifiedRow(
        args.dropout.enabled() ? &stream : nullptr,
        {.columns = StripColumns(segment.keys[strip_row.r], segment.origin),
         .origin = segment.origin,
         .dropout_row = strip_row.dropout_row,
         .share = 1 / seen,
         .gate = strip_row.gate,
         .row = strip_row.row + segment.column,
         .drow = strip_row.drow + segment.column});
  }
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_DIFFERENTIATE_H_
