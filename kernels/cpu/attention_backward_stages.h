// What backward attention does beside its products, whichever way these run: strips, gates, and
// storing the gradients. A Highway "-inl" header.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_STAGES_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_STAGES_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_STAGES_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_STAGES_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/api/attention.h"
#include "kernels/cpu/attention_differentiate.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_prefetch.h"

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

// One head of one row of the batch, and what of its gradients is summed over all its queries.
struct HeadSums {
  int64_t b, h;
  double sink_logit = 0;
};

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
      sums = args.weights == AttentionWeights::kRelu
                 ? DifferentiateRectifiedStripRow(args, stream, block, strip_row)
             : args.clip.enabled() ? DifferentiateClippedStripRow(args, stream, block, strip_row)
                                   : DifferentiateStripRow(args, stream, block, strip_row);
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

// The gradients of a query gate per channel: dout times the ungated output (rows, D), which was
// computed again.
template <typename T>
void DifferentiateChannelGate(const AttentionBackwardArgs<T>& args, const cpu::QueryBlock& block,
                              const float* ungated, const HeadSums& head) {
  const FloatTag df;
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t at = ((head.b * args.T_ + block.first + r) * args.H + head.h) * args.D;
    if (r >= block.seeing) {  // dout may be anything in padding
      std::fill_n(args.dgate + at, args.D, 0.0f);
      continue;
    }
    ForEachVector(df, 0, args.D, [&](int64_t d, auto memory) HWY_ATTR {
      const FloatVector out = memory.Load(df, ungated + r * row_stride + d);
      memory.Store(df, hn::Mul(memory.Load(df, args.dout + at + d), out), args.dgate + at + d);
    });
  }
}

template <typename T>
void StoreQueryGradients(const AttentionBackwardArgs<T>& args, const cpu::QueryBlock& block,
                         const float* dqueries, const HeadSums& head) {
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = head.b * args.T_ + block.first + r;
    UnpackRow(dqueries + r * cpu::PackedRowStride(args.D), args.D, args.scale,
              args.dq + token * args.qkv_stride + head.h * args.D);
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

// Of padding, whose values and gates may be anything.
template <typename T>
void StoreNoValueGradient(const AttentionBackwardArgs<T>& args, int64_t at, int64_t gate_index) {
  const int64_t gates = args.gate_per_channel ? args.D : 1;
  std::fill_n(args.dgate + gate_index * gates, gates, 0.0f);
  std::fill_n(args.dv + at, args.D, T{});
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
  const int64_t length = args.mask.lengths == nullptr ? args.T_ : args.mask.lengths[head.b];
  for (int64_t j = 0; j < args.T_; ++j) {
    const int64_t token = head.b * args.T_ + j;
    const int64_t at = token * args.qkv_stride + head.h * args.D;
    if (args.gate_site == GateSite::kKey && j >= length) {
      StoreNoValueGradient(args, at, token * args.H + head.h);
    } else if (args.gate_site == GateSite::kKey) {
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

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_STAGES_H_
