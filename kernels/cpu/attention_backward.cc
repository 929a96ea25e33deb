// Backward attention: for each block of query rows the strip of probabilities is computed again
// from the saved log-sum-exp; dQ falls out block by block, dK and dV are summed over the blocks in
// fp32 and rounded once. One worker does a whole head, in one order; a sink's gradients are added
// up over the batch when all are done.
#include "kernels/api/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "kernels/cpu/attention_amx_plan.h"
#include "kernels/cpu/attention_backward_amx.h"
#include "kernels/cpu/attention_backward_stages.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_tile.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

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
  if (sizes.ungated_output) {
    std::fill_n(scratch.dqueries, block.rows * row_stride, 0.0f);
    for (const cpu::KeySegment& segment : block.segments()) {
      AddProductByRows(segment, scratch.strip + segment.column, strip_stride, scratch.values,
                       args.D, scratch.dqueries, prefetcher);
    }
    DifferentiateChannelGate(args, block, scratch.dqueries, head);
  }
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
  StoreQueryGradients(args, block, scratch.dqueries, head);
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
#if HWY_TARGET == HWY_AVX3
  if (cpu::HasAmxTiles()) return BackwardHeadAmx(args, item);
#endif
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
  return (sink_floats + threads * cpu::BackwardFloats(sizes)) * static_cast<int64_t>(sizeof(float));
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
  const int64_t scratch_floats = BackwardFloats(ScratchSizes::Of(args));
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
