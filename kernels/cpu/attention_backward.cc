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
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/attention_tile.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

template <typename T>
void PackHead(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
              const cpu::BackwardScratch& scratch) {
  const int64_t head = b * args.T_ * args.qkv_stride + h * args.D;
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const bool key_gate = args.gate_site == GateSite::kKey;
  PackTransposed(args.k + head, args.qkv_stride, args.T_, args.D, nullptr, 0,
                 scratch.keys_transposed);
  PackTransposed(args.v + head, args.qkv_stride, args.T_, args.D,
                 key_gate ? args.gate + b * args.T_ * args.H + h : nullptr, args.H,
                 scratch.values_transposed);
  for (int64_t j = 0; j < args.T_; ++j) {
    PackRow(args.k + head + j * args.qkv_stride, args.D, 1, scratch.keys + j * row_stride);
  }
  std::fill_n(scratch.dkeys, args.T_ * row_stride, 0.0f);
  std::fill_n(scratch.dvalues, args.T_ * row_stride, 0.0f);
}

template <typename T>
void PackBlock(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
               const cpu::QueryBlock& block, const cpu::BackwardScratch& scratch) {
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    PackRow(args.q + token * args.qkv_stride + h * args.D, args.D, args.scale,
            scratch.queries + r * row_stride);
    PackRow(args.dout + (token * args.H + h) * args.D, args.D, 1, scratch.douts + r * row_stride);
  }
}

// strip: scores → gated, dropped-out probabilities; dstrip: ⟨dout, v⟩ → gradient of the scores.
template <typename T>
void DifferentiateStrip(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
                        const cpu::QueryBlock& block, float* strip, float* dstrip) {
  const int64_t strip_stride = cpu::StripStride(args.T_);
  const bool drops = args.dropout.enabled();
  const DropoutStream stream =
      drops ? MakeDropoutStream(args.dropout, args.dropout.sample_index[b], args.T_)
            : DropoutStream{};
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t i = block.first + r;
    const int64_t gate_index = (b * args.T_ + i) * args.H + h;
    const bool query_gate = args.gate_site == GateSite::kQuery;
    float* row = strip + r * strip_stride;
    float* drow = dstrip + r * strip_stride;
    float dot = 0;
    if (!block.keys[r].empty()) {
      const StripColumns columns(block.keys[r], block.origin);
      const float log_sum_exp = args.log_sum_exp[(b * args.H + h) * args.T_ + i];
      dot = drops ? RecomputeDroppedRow(stream, h * args.T_ + i, columns, block.origin, log_sum_exp,
                                        row, drow)
                  : RecomputeRow(columns, log_sum_exp, row, drow);
      DifferentiateRow(columns, dot, query_gate ? args.gate[gate_index] : 1, stream.scale, row,
                       drow);
    }
    if (query_gate) args.dgate[gate_index] = dot;
    // The products with a transposed strip run over rows × keys, so zero what the block sees.
    ZeroUnseen(block.all, block.keys[r], block.origin, row);
    ZeroUnseen(block.all, block.keys[r], block.origin, drow);
  }
}

template <typename T>
void BackwardBlock(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h, int64_t block_index,
                   const cpu::BackwardScratch& scratch, cpu::RowPrefetcher& prefetcher) {
  const cpu::QueryBlock block(args.mask, args.T_, b, block_index);
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const int64_t strip_stride = cpu::StripStride(args.T_);
  PackBlock(args, b, h, block, scratch);
  MultiplyByColumns(block, scratch.queries, args.D, scratch.keys_transposed, scratch.strip,
                    strip_stride, prefetcher);
  MultiplyByColumns(block, scratch.douts, args.D, scratch.values_transposed, scratch.dstrip,
                    strip_stride, prefetcher);
  DifferentiateStrip(args, b, h, block, scratch.strip, scratch.dstrip);
  AddTransposedProduct(block, scratch.strip, strip_stride, scratch.douts, args.D, scratch.dvalues,
                       prefetcher);
  // The packed queries carry the scale already.
  AddTransposedProduct(block, scratch.dstrip, strip_stride, scratch.queries, args.D, scratch.dkeys,
                       prefetcher);
  MultiplyByRows(block, scratch.dstrip, strip_stride, scratch.keys, args.D, scratch.dqueries,
                 prefetcher);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    UnpackRow(scratch.dqueries + r * row_stride, args.D, args.scale,
              args.dq + token * args.qkv_stride + h * args.D);
  }
}

// dV, dK and the key gate's gradient from the sums over all blocks.
template <typename T>
void StoreKeyGradients(const AttentionBackwardArgs<T>& args, int64_t b, int64_t h,
                       const cpu::BackwardScratch& scratch) {
  const FloatTag df;
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  for (int64_t j = 0; j < args.T_; ++j) {
    const int64_t at = (b * args.T_ + j) * args.qkv_stride + h * args.D;
    const float* dweighted = scratch.dvalues + j * row_stride;
    float gate = 1;
    if (args.gate_site == GateSite::kKey) {
      const int64_t gate_index = (b * args.T_ + j) * args.H + h;
      gate = args.gate[gate_index];
      FloatVector sum = hn::Zero(df);
      int64_t d = 0;
      for (; d + kLanes <= args.D; d += kLanes) {
        sum = hn::MulAdd(hn::Load(df, dweighted + d), LoadFloats(df, args.v + at + d), sum);
      }
      float dgate = hn::GetLane(hn::SumOfLanes(df, sum));
      for (; d < args.D; ++d) dgate += dweighted[d] * static_cast<float>(args.v[at + d]);
      args.dgate[gate_index] = dgate;
    }
    UnpackRow(dweighted, args.D, gate, args.dv + at);
    UnpackRow(scratch.dkeys + j * row_stride, args.D, 1, args.dk + at);
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
void BackwardHead(const AttentionBackwardArgs<T>& args, int64_t head, int64_t next_head,
                  float* memory) {
  const int64_t b = head / args.H, h = head % args.H;
  cpu::Scratch allocator(memory);
  const cpu::BackwardScratch scratch(allocator, args.T_, args.D);
  PackHead(args, b, h, scratch);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, head, next_head);
  for (int64_t block = 0; block * cpu::kQueryBlock < args.T_; ++block) {
    BackwardBlock(args, b, h, block, scratch, prefetcher);
  }
  StoreKeyGradients(args, b, h, scratch);
}

void BackwardHeadFloat(const AttentionBackwardArgs<float>& args, int64_t head, int64_t next_head,
                       float* memory) {
  BackwardHead(args, head, next_head, memory);
}
void BackwardHeadBf16(const AttentionBackwardArgs<bf16>& args, int64_t head, int64_t next_head,
                      float* memory) {
  BackwardHead(args, head, next_head, memory);
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

int64_t AttentionBackwardWorkspaceBytes(int64_t T, int64_t /*H*/, int64_t D, int threads,
                                        int64_t /*sink_batch*/) {
  return threads * cpu::ScratchFloats<cpu::BackwardScratch>(T, D) *
         static_cast<int64_t>(sizeof(float));
}

namespace cpu {

template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args) {
  CHECK_EQ(args.gate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(args.dgate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
  CHECK(args.workspace != nullptr);
  CHECK(!args.gate_per_channel && !args.clip.enabled() && args.sink == SoftmaxSink::kNone &&
        args.sink_key == nullptr && args.mask.registers == 0)
      << "the CPU kernels do not compute this variant yet";
  const int64_t scratch_floats = ScratchFloats<BackwardScratch>(args.T_, args.D);
  ParallelForDynamic(args.B * args.H, [&](int worker, int64_t head) {
    float* memory = static_cast<float*>(args.workspace) + worker * scratch_floats;
    // Heads are handed out in order, so the others will take the ones in between.
    const int64_t next_head = head + ComputeThreads();
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(BackwardHeadFloat)(args, head, next_head, memory);
    } else {
      HWY_DYNAMIC_DISPATCH(BackwardHeadBf16)(args, head, next_head, memory);
    }
  });
  return absl::OkStatus();
}

template absl::Status AttentionBackward(const AttentionBackwardArgs<float>& args);
template absl::Status AttentionBackward(const AttentionBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
