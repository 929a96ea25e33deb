// Backward attention: for each block of query rows the strip of probabilities is computed again
// from the saved log-sum-exp; dQ falls out block by block, dK and dV are summed over the blocks in
// fp32 and rounded once. One worker does a whole head, in one order.
#include "kernels/api/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/attention_clip.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/attention_tile.h"

#ifndef SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_ITEM_
#define SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_ITEM_
namespace sluice::cpu {

// The gradients of a head's sink from one row of the batch.
struct SinkSums {
  float *logit, *key, *value;  // (1), (D), (D)
  SinkSums(float* memory, int64_t D) : logit(memory), key(memory + 1), value(memory + 1 + D) {}
  static int64_t Floats(int64_t D) { return 1 + 2 * D; }
};

// The unit of parallel work: head % H of row head / H of the batch.
struct BackwardItem {
  int64_t head, next_head;  // next_head: what this worker will likely do next
  float* memory;            // the worker's scratch
  float* sink_sums;         // SinkSums::Floats, or null: nothing of a sink is learned
};

}  // namespace sluice::cpu
#endif  // SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_ITEM_

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

// One head of one row of the batch, and what of its gradients is summed over all its queries.
struct HeadSums {
  int64_t b, h;
  double sink_logit = 0;
};

template <typename T>
void PackHead(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
              const cpu::BackwardScratch& scratch) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t row_stride = sizes.row_stride();
  const HeadRows<T> keys = KeysOf<T>(args, b, h), values = ValuesOf<T>(args, b, h);
  if (values.plain()) {
    PackTransposed(values.tokens, values.stride, args.T_, args.D, values.gates, values.gate_stride,
                   scratch.values_transposed);
  } else {
    PackHeadRows(values, args.T_, args.D, scratch.dvalues);  // on the way: it is cleared below
    PackTransposed(scratch.dvalues, row_stride, sizes.keys, args.D, nullptr, 0,
                   scratch.values_transposed);
  }
  PackHeadRows(keys, args.T_, args.D, scratch.keys);
  if (keys.plain()) {
    PackTransposed(keys.tokens, keys.stride, args.T_, args.D, nullptr, 0, scratch.keys_transposed);
  } else {
    PackTransposed(scratch.keys, row_stride, sizes.keys, args.D, nullptr, 0,
                   scratch.keys_transposed);
  }
  if (sizes.ungated_output) PackHeadRows(values, args.T_, args.D, scratch.values);
  std::fill_n(scratch.dkeys, sizes.keys * row_stride, 0.0f);
  std::fill_n(scratch.dvalues, sizes.keys * row_stride, 0.0f);
}

// The queries, and the gradients of the output: before a gate per head, behind a gate per channel.
template <typename T>
void PackBlock(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
               const cpu::QueryBlock& block, const cpu::BackwardScratch& scratch) {
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const bool channel_gate = args.gate_site == GateSite::kQuery && args.gate_per_channel;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    const int64_t at = (token * args.H + h) * args.D;
    PackRow(args.q + token * args.qkv_stride + h * args.D, args.D, args.scale,
            scratch.queries + r * row_stride);
    if (channel_gate) {
      PackGatedRow(args.dout + at, args.D, args.gate + at, scratch.douts + r * row_stride);
    } else {
      PackRow(args.dout + at, args.D, 1, scratch.douts + r * row_stride);
    }
  }
}

// Row r of a block: scores → gated, dropped-out probabilities, and ⟨dout, v⟩ → gradient of the
// scores.
template <typename T>
RowSums DifferentiateRows(const AttentionBackwardArgs<T>& args, const DropoutStream& stream,
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
RowSums DifferentiateClippedRows(const AttentionBackwardArgs<T>& args, const DropoutStream& stream,
                                 const cpu::QueryBlock& block, const StripRow& strip_row) {
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

// The probability that row i gave to the sink's logit.
template <typename T>
double SinkProbability(const AttentionBackwardArgs<T>& args, int64_t h, float log_sum_exp) {
  return std::exp(static_cast<double>(static_cast<float>(args.sink_logit[h])) - log_sum_exp);
}

// strip: scores → gated, dropped-out probabilities; dstrip: ⟨dout, v⟩ → gradient of the scores.
template <typename T>
void DifferentiateStrip(const AttentionBackwardArgs<T>& args, const cpu::QueryBlock& block,
                        const cpu::BackwardScratch& scratch, HeadSums& head) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t b = head.b, h = head.h;
  const bool drops = args.dropout.enabled();
  const bool head_gate = args.gate_site == GateSite::kQuery && !args.gate_per_channel;
  const DropoutStream stream =
      drops ? MakeDropoutStream(args.dropout, args.dropout.sample_index[b], sizes.keys)
            : DropoutStream{};
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t i = block.first + r;
    const int64_t gate_index = (b * args.T_ + i) * args.H + h;
    StripRow strip_row = {.r = r,
                          .dropout_row = h * args.T_ + i,
                          .log_sum_exp = args.log_sum_exp[(b * args.H + h) * args.T_ + i],
                          .gate = head_gate ? args.gate[gate_index] : 1,
                          .row = scratch.strip + r * sizes.strip_stride(),
                          .drow = scratch.dstrip + r * sizes.strip_stride()};
    RowSums sums;
    if (r < block.seeing) {
      sums = args.clip.enabled() ? DifferentiateClippedRows(args, stream, block, strip_row)
                                 : DifferentiateRows(args, stream, block, strip_row);
      if (args.sink == SoftmaxSink::kLogit) {
        head.sink_logit -= SinkProbability(args, h, strip_row.log_sum_exp) * strip_row.gate *
                           static_cast<double>(sums.dot);
      }
    }
    if (head_gate) args.dgate[gate_index] = sums.weighted;
    // The products with a transposed strip run over rows × keys, so zero what the block sees.
    for (const cpu::KeySegment& segment : block.segments()) {
      for (float* row : {strip_row.row, strip_row.drow}) {
        ZeroUnseen(segment.all, segment.keys[r], segment.origin, row + segment.column);
      }
    }
  }
}

// The gradients of a query gate per channel: dout times the ungated output, which is computed
// again.
template <typename T>
void DifferentiateChannelGate(const AttentionBackwardArgs<T>& args, const cpu::QueryBlock& block,
                              const cpu::BackwardScratch& scratch, const HeadSums& head,
                              cpu::RowPrefetcher& prefetcher) {
  const FloatTag df;
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  float* ungated = scratch.dqueries;
  std::fill_n(ungated, block.rows * sizes.row_stride(), 0.0f);
  for (const cpu::KeySegment& segment : block.segments()) {
    AddProductByRows(segment, scratch.strip + segment.column, sizes.strip_stride(), scratch.values,
                     args.D, ungated, prefetcher);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t at = ((head.b * args.T_ + block.first + r) * args.H + head.h) * args.D;
    if (r >= block.seeing) {  // dout may be anything in padding
      std::fill_n(args.dgate + at, args.D, 0.0f);
      continue;
    }
    ForEachVector(df, 0, args.D, [&](int64_t d, auto memory) HWY_ATTR {
      const FloatVector out = memory.Load(df, ungated + r * sizes.row_stride() + d);
      memory.Store(df, hn::Mul(memory.Load(df, args.dout + at + d), out), args.dgate + at + d);
    });
  }
}

template <typename T>
void BackwardBlock(const AttentionBackwardArgs<T>& args, int64_t block_index,
                   const cpu::BackwardScratch& scratch, HeadSums& head,
                   cpu::RowPrefetcher& prefetcher) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t b = head.b, h = head.h;
  const cpu::QueryBlock block(args.mask, args.T_, sizes.keys - args.T_, b, block_index);
  const int64_t row_stride = sizes.row_stride(), strip_stride = sizes.strip_stride();
  PackBlock(args, b, h, block, scratch);
  for (const cpu::KeySegment& segment : block.segments()) {
    MultiplyByColumns(segment, scratch.queries, args.D, scratch.keys_transposed,
                      scratch.strip + segment.column, strip_stride, prefetcher);
    MultiplyByColumns(segment, scratch.douts, args.D, scratch.values_transposed,
                      scratch.dstrip + segment.column, strip_stride, prefetcher);
  }
  DifferentiateStrip(args, block, scratch, head);
  if (sizes.ungated_output) DifferentiateChannelGate(args, block, scratch, head, prefetcher);
  std::fill_n(scratch.dqueries, block.rows * row_stride, 0.0f);
  for (const cpu::KeySegment& segment : block.segments()) {
    const float* strip = scratch.strip + segment.column;
    const float* dstrip = scratch.dstrip + segment.column;
    AddTransposedProduct(segment, strip, strip_stride, scratch.douts, args.D, scratch.dvalues,
                         prefetcher);
    // The packed queries carry the scale already.
    AddTransposedProduct(segment, dstrip, strip_stride, scratch.queries, args.D, scratch.dkeys,
                         prefetcher);
    AddProductByRows(segment, dstrip, strip_stride, scratch.keys, args.D, scratch.dqueries,
                     prefetcher);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    UnpackRow(scratch.dqueries + r * row_stride, args.D, args.scale,
              args.dq + token * args.qkv_stride + h * args.D);
  }
}

// dV of a row of values with a gate at the key site, and the gate's gradient: dweighted is the
// gradient of the gated values.
template <typename T>
void StoreGatedValueGradient(const AttentionBackwardArgs<T>& args, int64_t at, int64_t gate_index,
                             const float* dweighted) {
  const FloatTag df;
  if (args.gate_per_channel) {
    const float* gates = args.gate + gate_index * args.D;
    float* dgates = args.dgate + gate_index * args.D;
    ForEachVector(df, 0, args.D, [&](int64_t d, auto memory) HWY_ATTR {
      const FloatVector dgate =
          hn::Mul(memory.Load(df, dweighted + d), memory.Load(df, args.v + at + d));
      memory.Store(df, dgate, dgates + d);
    });
    UnpackGatedRow(dweighted, args.D, 1, gates, args.dv + at);
    return;
  }
  FloatVector sum = hn::Zero(df);
  int64_t d = 0;
  for (; d + kLanes <= args.D; d += kLanes) {
    sum = hn::MulAdd(hn::Load(df, dweighted + d), LoadFloats(df, args.v + at + d), sum);
  }
  float dgate = hn::GetLane(hn::SumOfLanes(df, sum));
  for (; d < args.D; ++d) dgate += dweighted[d] * static_cast<float>(args.v[at + d]);
  args.dgate[gate_index] = dgate;
  UnpackRow(dweighted, args.D, args.gate[gate_index], args.dv + at);
}

// dV, dK and the key gate's gradient from the sums over all blocks; sink_sums: where this row's
// part of the gradients of the head's sink goes, or null.
template <typename T>
void StoreKeyGradients(const AttentionBackwardArgs<T>& args, const HeadSums& head,
                       const cpu::BackwardScratch& scratch, float* sink_sums) {
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const float* dkeys = scratch.dkeys;
  const float* dvalues = scratch.dvalues;
  if (sink_sums != nullptr) {
    const cpu::SinkSums sums(sink_sums, args.D);
    *sums.logit = static_cast<float>(head.sink_logit);
    if (args.sink_key != nullptr) {
      std::copy_n(dkeys, args.D, sums.key);
      std::copy_n(dvalues, args.D, sums.value);
      dkeys += row_stride;
      dvalues += row_stride;
    }
  }
  for (int64_t j = 0; j < args.T_; ++j) {
    const int64_t token = head.b * args.T_ + j;
    const int64_t at = token * args.qkv_stride + head.h * args.D;
    if (args.gate_site == GateSite::kKey) {
      StoreGatedValueGradient(args, at, token * args.H + head.h, dvalues + j * row_stride);
    } else {
      UnpackRow(dvalues + j * row_stride, args.D, 1, args.dv + at);
    }
    UnpackRow(dkeys + j * row_stride, args.D, 1, args.dk + at);
  }
}

// What this head will write, and what the next one will read.
template <typename T>
cpu::RowPrefetcher MakePrefetcher(const AttentionBackwardArgs<T>& args, int64_t head,
                                  int64_t next_head) {
  cpu::RowPrefetcher prefetcher;
  const int64_t at = head / args.H * args.T_ * args.qkv_stride + head % args.H * args.D;
  for (const T* rows : {args.dq + at, args.dk + at, args.dv + at}) {
    prefetcher.Add(rows, args.qkv_stride, args.T_, args.D, /*writes=*/true);
  }
  if (next_head < args.B * args.H) {
    const int64_t b = next_head / args.H, h = next_head % args.H;
    const int64_t next = b * args.T_ * args.qkv_stride + h * args.D;
    for (const T* rows : {args.k + next, args.v + next, args.q + next}) {
      prefetcher.Add(rows, args.qkv_stride, args.T_, args.D, /*writes=*/false);
    }
    prefetcher.Add(args.dout + (b * args.T_ * args.H + h) * args.D, args.H * args.D, args.T_,
                   args.D, /*writes=*/false);
  }
  // Tiles of the five products; causal rows have half as many, so be done early.
  prefetcher.SpreadOver(2 * CeilDiv(args.T_, cpu::kTileRows) * CeilDiv(args.T_, kPanel));
  return prefetcher;
}

template <typename T>
void BackwardHead(const AttentionBackwardArgs<T>& args, const cpu::BackwardItem& item) {
  HeadSums head = {.b = item.head / args.H, .h = item.head % args.H, .sink_logit = 0};
  cpu::Scratch allocator(item.memory);
  const cpu::BackwardScratch scratch(allocator, cpu::ScratchSizes::Of(args));
  PackHead(args, head.b, head.h, scratch);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, item.head, item.next_head);
  for (int64_t block = 0; block * cpu::kQueryBlock < args.T_; ++block) {
    BackwardBlock(args, block, scratch, head, prefetcher);
  }
  StoreKeyGradients(args, head, scratch, item.sink_sums);
}

void BackwardHeadFloat(const AttentionBackwardArgs<float>& args, const cpu::BackwardItem& item) {
  BackwardHead(args, item);
}
void BackwardHeadBf16(const AttentionBackwardArgs<bf16>& args, const cpu::BackwardItem& item) {
  BackwardHead(args, item);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

#include "core/check.h"
#include "core/parallel.h"

namespace sluice {

HWY_EXPORT(BackwardHeadFloat);
HWY_EXPORT(BackwardHeadBf16);

int64_t AttentionBackwardWorkspaceBytes(int64_t T, int64_t H, int64_t D, int threads,
                                        int64_t sink_batch) {
  const auto sizes = cpu::ScratchSizes::Largest(T, D);
  const int64_t sink_floats = RoundUp(sink_batch * H * cpu::SinkSums::Floats(D), 16);
  return (sink_floats + threads * cpu::ScratchFloats<cpu::BackwardScratch>(sizes)) *
         static_cast<int64_t>(sizeof(float));
}

namespace cpu {
namespace {

template <typename T>
void CheckArguments(const AttentionBackwardArgs<T>& args) {
  CHECK_EQ(args.gate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(args.dgate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(args.sink_logit == nullptr, args.sink != SoftmaxSink::kLogit);
  CHECK_EQ(args.dsink_logit == nullptr, args.sink_logit == nullptr);
  CHECK_EQ(args.sink_value == nullptr, args.sink_key == nullptr);
  CHECK_EQ(args.dsink_key == nullptr, args.sink_key == nullptr);
  CHECK_EQ(args.dsink_value == nullptr, args.sink_key == nullptr);
  CHECK(args.clip.gamma <= 0 && args.clip.zeta >= 1) << args.clip.gamma << ", " << args.clip.zeta;
  CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
  CHECK(args.workspace != nullptr);
}

// Adds the parts of all rows of the batch to the sink's gradients, in order.
template <typename T>
void AddSinkGradients(const AttentionBackwardArgs<T>& args, float* sink_sums) {
  const auto add = [&](int64_t h, int64_t index, float& gradient) {
    double sum = 0;
    for (int64_t b = 0; b < args.B; ++b) {
      sum += sink_sums[(b * args.H + h) * SinkSums::Floats(args.D) + index];
    }
    gradient += static_cast<float>(sum);
  };
  for (int64_t h = 0; h < args.H; ++h) {
    if (args.dsink_logit != nullptr) add(h, 0, args.dsink_logit[h]);
    for (int64_t d = 0; d < args.D && args.dsink_key != nullptr; ++d) {
      add(h, 1 + d, args.dsink_key[h * args.D + d]);
      add(h, 1 + args.D + d, args.dsink_value[h * args.D + d]);
    }
  }
}

}  // namespace

template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args) {
  CheckArguments(args);
  const bool learned_sink = args.sink_logit != nullptr || args.sink_key != nullptr;
  const int64_t sink_floats = SinkSums::Floats(args.D);
  float* sink_sums = learned_sink ? static_cast<float*>(args.workspace) : nullptr;
  float* scratch = static_cast<float*>(args.workspace) +
                   (learned_sink ? RoundUp(args.B * args.H * sink_floats, 16) : 0);
  const int64_t scratch_floats = ScratchFloats<BackwardScratch>(ScratchSizes::Of(args));
  ParallelForDynamic(args.B * args.H, [&](int worker, int64_t head) {
    const BackwardItem item = {
        .head = head,
        // Heads are handed out in order, so the others will take the ones in between.
        .next_head = head + ComputeThreads(),
        .memory = scratch + worker * scratch_floats,
        .sink_sums = learned_sink ? sink_sums + head * sink_floats : nullptr};
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(BackwardHeadFloat)(args, item);
    } else {
      HWY_DYNAMIC_DISPATCH(BackwardHeadBf16)(args, item);
    }
  });
  if (learned_sink) AddSinkGradients(args, sink_sums);
  return absl::OkStatus();
}

template absl::Status AttentionBackward(const AttentionBackwardArgs<float>& args);
template absl::Status AttentionBackward(const AttentionBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
