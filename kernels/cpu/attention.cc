// Forward attention: for each block of query rows, a strip of scores against all visible keys, its
// softmax in place, and its product with the values.
#include "kernels/api/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cc"
#include "kernels/cpu/highway_targets.h"
// Then:
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// After highway.h:
#include "hwy/contrib/math/math-inl.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_softmax.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/vector_memory.h"

#ifndef SLUICE_KERNELS_CPU_ATTENTION_ITEM_
#define SLUICE_KERNELS_CPU_ATTENTION_ITEM_
namespace sluice::cpu {
// Query blocks [first_block, end_block) of head h of row b of the batch: the unit of parallel work.
// next_b, next_h: the head that this worker will likely do next; next_b < 0: none.
struct ForwardItem {
  int64_t b, h, first_block, end_block;
  int64_t next_b, next_h;
};
}  // namespace sluice::cpu
#endif  // SLUICE_KERNELS_CPU_ATTENTION_ITEM_

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

template <typename T>
void PackKeysAndValues(const AttentionForwardArgs<T>& args, int64_t b, int64_t h,
                       const cpu::ForwardScratch& scratch) {
  const int64_t head = b * args.T_ * args.qkv_stride + h * args.D;
  PackTransposed(args.k + head, args.qkv_stride, args.T_, args.D, nullptr, 0,
                 scratch.keys_transposed);
  for (int64_t j = 0; j < args.T_; ++j) {
    const float gate =
        args.gate_site == GateSite::kKey ? args.gate[(b * args.T_ + j) * args.H + h] : 1;
    PackRow(args.v + head + j * args.qkv_stride, args.D, gate,
            scratch.values + j * cpu::PackedRowStride(args.D));
  }
}

// The strip: scores → unnormalized, dropped-out probabilities. normalizer[r]: what row r of the
// product with the values still has to be multiplied by, but for the gate.
template <typename T>
void SoftmaxStrip(const AttentionForwardArgs<T>& args, int64_t b, int64_t h,
                  const cpu::QueryBlock& block, float* strip, float* normalizer) {
  const int64_t strip_stride = cpu::StripStride(args.T_);
  const bool drops = args.dropout.enabled();
  const DropoutStream stream =
      drops ? MakeDropoutStream(args.dropout, args.dropout.sample_index[b], args.T_)
            : DropoutStream{};
  constexpr int64_t kPadded = RoundUp(cpu::kQueryBlock, kLanes);
  HWY_ALIGN float largest[kPadded] = {};
  HWY_ALIGN float sum[kPadded];
  std::fill_n(sum, kPadded, 1.0f);  // a finite logarithm also where there is no sum
  // One loop after another: each keeps many rows in flight, which one after the other would wait
  // for its own maximum and sum.
  for (int64_t r = 0; r < block.rows; ++r) {
    largest[r] = -std::numeric_limits<float>::infinity();
    if (block.keys[r].empty()) continue;
    largest[r] = LargestOfRow(StripColumns(block.keys[r], block.origin), strip + r * strip_stride);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = strip + r * strip_stride;
    normalizer[r] = 0;
    if (!block.keys[r].empty()) {
      const StripColumns columns(block.keys[r], block.origin);
      sum[r] = ExponentiateRow(columns, largest[r], row);
      normalizer[r] = stream.scale / sum[r];
    }
    ZeroUnseen(block.groups[r / cpu::kTileRows], block.keys[r], block.origin, row);
  }
  for (int64_t r = 0; r < block.rows && drops; ++r) {
    if (block.keys[r].empty()) continue;
    DropRow(stream, h * args.T_ + block.first + r, StripColumns(block.keys[r], block.origin),
            block.origin, strip + r * strip_stride);
  }
  if (args.log_sum_exp == nullptr) return;
  float* log_sum_exp = args.log_sum_exp + (b * args.H + h) * args.T_ + block.first;
  ForEachVector(FloatTag(), 0, block.rows, [&](int64_t r, auto memory) HWY_ATTR {
    const FloatTag df;
    const FloatVector log_sum = hn::Log(df, hn::Load(df, sum + r));
    memory.Store(df, hn::Add(hn::Load(df, largest + r), log_sum), log_sum_exp + r);
  });
}

template <typename T>
void ForwardBlock(const AttentionForwardArgs<T>& args, int64_t b, int64_t h, int64_t block_index,
                  const cpu::ForwardScratch& scratch, cpu::RowPrefetcher& prefetcher) {
  const cpu::QueryBlock block(args.mask, args.T_, b, block_index);
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const int64_t strip_stride = cpu::StripStride(args.T_);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    PackRow(args.q + token * args.qkv_stride + h * args.D, args.D, args.scale,
            scratch.queries + r * row_stride);
  }
  float normalizer[cpu::kQueryBlock];
  MultiplyByColumns(block, scratch.queries, args.D, scratch.keys_transposed, scratch.strip,
                    strip_stride, prefetcher);
  SoftmaxStrip(args, b, h, block, scratch.strip, normalizer);
  MultiplyByRows(block, scratch.strip, strip_stride, scratch.values, args.D, scratch.out,
                 prefetcher);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    const float gate = args.gate_site == GateSite::kQuery ? args.gate[token * args.H + h] : 1;
    UnpackRow(scratch.out + r * row_stride, args.D, normalizer[r] * gate,
              args.out + (token * args.H + h) * args.D);
  }
}

// What this item will write, and what the next one will read.
template <typename T>
cpu::RowPrefetcher MakePrefetcher(const AttentionForwardArgs<T>& args,
                                  const cpu::ForwardItem& item) {
  const int64_t blocks = item.end_block - item.first_block;
  const int64_t first = item.first_block * cpu::kQueryBlock;
  cpu::RowPrefetcher prefetcher;
  prefetcher.Add(args.out + ((item.b * args.T_ + first) * args.H + item.h) * args.D,
                 args.H * args.D, std::min(blocks * cpu::kQueryBlock, args.T_ - first), args.D,
                 /*writes=*/true);
  if (item.next_b >= 0) {
    const int64_t next = item.next_b * args.T_ * args.qkv_stride + item.next_h * args.D;
    for (const T* rows : {args.k + next, args.v + next, args.q + next}) {
      prefetcher.Add(rows, args.qkv_stride, args.T_, args.D, /*writes=*/false);
    }
  }
  // Tiles of both products; causal rows have half as many, so be done early.
  prefetcher.SpreadOver(blocks * (cpu::kQueryBlock / cpu::kTileRows) * CeilDiv(args.T_, kPanel));
  return prefetcher;
}

template <typename T>
void ForwardItem(const AttentionForwardArgs<T>& args, const cpu::ForwardItem& item, float* memory) {
  cpu::Scratch allocator(memory);
  const cpu::ForwardScratch scratch(allocator, args.T_, args.D);
  PackKeysAndValues(args, item.b, item.h, scratch);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, item);
  for (int64_t block = item.first_block; block < item.end_block; ++block) {
    ForwardBlock(args, item.b, item.h, block, scratch, prefetcher);
  }
}

void ForwardItemFloat(const AttentionForwardArgs<float>& args, const cpu::ForwardItem& item,
                      float* memory) {
  ForwardItem(args, item, memory);
}
void ForwardItemBf16(const AttentionForwardArgs<bf16>& args, const cpu::ForwardItem& item,
                     float* memory) {
  ForwardItem(args, item, memory);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

#include "core/check.h"
#include "core/parallel.h"

namespace sluice {

HWY_EXPORT(ForwardItemFloat);
HWY_EXPORT(ForwardItemBf16);

int64_t AttentionForwardWorkspaceBytes(int64_t T, int64_t /*H*/, int64_t D, int threads) {
  return threads * cpu::ScratchFloats<cpu::ForwardScratch>(T, D) *
         static_cast<int64_t>(sizeof(float));
}

namespace cpu {

template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& args) {
  CHECK_EQ(args.gate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
  CHECK(args.workspace != nullptr);
  CHECK(!args.gate_per_channel && !args.clip.enabled() && args.sink == SoftmaxSink::kNone &&
        args.sink_key == nullptr && args.mask.registers == 0)
      << "the CPU kernels do not compute this variant yet";
  const int64_t scratch_floats = ScratchFloats<ForwardScratch>(args.T_, args.D);
  // Rows of different blocks share nothing but the packed keys and values, so heads may be split
  // when there are too few of them, and no result changes.
  const int64_t blocks = CeilDiv(args.T_, kQueryBlock);
  const int64_t heads = args.B * args.H;
  if (heads == 0 || blocks == 0) return absl::OkStatus();
  const int64_t parts = std::min(blocks, CeilDiv(2 * ComputeThreads(), heads));
  const int64_t splits = heads >= 2 * ComputeThreads() || ComputeThreads() == 1 ? 1 : parts;
  ParallelForDynamic(heads * splits, [&](int worker, int64_t index) {
    const int64_t head = index / splits, part = index % splits;
    // Heads are handed out in order, so the others will take the ones in between.
    const int64_t next = splits == 1 ? head + ComputeThreads() : heads;
    const ForwardItem item = {.b = head / args.H,
                              .h = head % args.H,
                              .first_block = blocks * part / splits,
                              .end_block = blocks * (part + 1) / splits,
                              .next_b = next < heads ? next / args.H : -1,
                              .next_h = next % args.H};
    float* memory = static_cast<float*>(args.workspace) + worker * scratch_floats;
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(ForwardItemFloat)(args, item, memory);
    } else {
      HWY_DYNAMIC_DISPATCH(ForwardItemBf16)(args, item, memory);
    }
  });
  return absl::OkStatus();
}

template absl::Status AttentionForward(const AttentionForwardArgs<float>& args);
template absl::Status AttentionForward(const AttentionForwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
