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
#include "kernels/cpu/attention_amx.h"
#include "kernels/cpu/attention_amx_plan.h"
#include "kernels/cpu/attention_clip.h"
#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_relu.h"
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
  const HeadRows<T> keys = KeysOf<T>(args, b, h);
  if (keys.plain()) {
    PackTransposed(keys.tokens, keys.stride, args.T_, args.D, nullptr, 0, scratch.keys_transposed);
  } else {
    PackHeadRows(keys, args.T_, args.D, scratch.values);  // on the way: the values come after
    PackTransposed(scratch.values, cpu::PackedRowStride(args.D), args.T_ + 1, args.D, nullptr, 0,
                   scratch.keys_transposed);
  }
  PackHeadRows(ValuesOf<T>(args, b, h), args.T_, args.D, scratch.values);
}

constexpr int64_t kPaddedRows = RoundUp(cpu::kQueryBlock, kLanes);
// One number a row of a block, in whole vectors.
struct RowNumbers {
  HWY_ALIGN float values[kPaddedRows] = {};
  float& operator[](int64_t r) { return values[r]; }
};

// The logit of head h that joins the denominator.
template <typename T>
float SinkLogit(const AttentionForwardArgs<T>& args, int64_t h) {
  return args.sink == SoftmaxSink::kLogit ? static_cast<float>(args.sink_logit[h]) : 0.0f;
}

// Lets a sink's logit take part in the maxima; `sums` becomes its share of each row's denominator.
void JoinSink(float logit, RowNumbers& largest, RowNumbers& sums) {
  const FloatTag df;
  const FloatVector logits = hn::Set(df, logit);
  for (int64_t r = 0; r < kPaddedRows; r += kLanes) {
    const FloatVector joined = hn::Max(hn::Load(df, &largest[r]), logits);
    hn::Store(joined, df, &largest[r]);
    hn::Store(SoftmaxExp(hn::Sub(logits, joined)), df, &sums[r]);
  }
}

void StoreLogSumExp(RowNumbers& largest, RowNumbers& sums, const cpu::QueryBlock& block,
                    float* log_sum_exp) {
  const FloatTag df;
  for (int64_t r = block.seeing; r < block.rows; ++r) {  // a finite logarithm where there is no sum
    largest[r] = -std::numeric_limits<float>::infinity();
    sums[r] = 1;
  }
  ForEachVector(df, 0, block.rows, [&](int64_t r, auto memory) HWY_ATTR {
    const FloatVector log_sum = hn::Log(df, hn::Load(df, &sums[r]));
    memory.Store(df, hn::Add(hn::Load(df, &largest[r]), log_sum), log_sum_exp + r);
  });
}

// The largest score of row r of a block; `row` is its strip.
float LargestScore(const cpu::QueryBlock& block, int64_t r, float* row) {
  float largest = -std::numeric_limits<float>::infinity();
  for (const cpu::KeySegment& segment : block.segments()) {
    if (segment.keys[r].empty()) continue;
    const StripColumns columns(segment.keys[r], segment.origin);
    largest = std::max(largest, LargestOfRow(columns, row + segment.column));
  }
  return largest;
}

// SoftmaxStrip below, without a softmax.
template <typename T>
void RectifyStrip(const AttentionForwardArgs<T>& args, int64_t b, int64_t h,
                  const cpu::QueryBlock& block, float* strip, float* normalizer) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const bool drops = args.dropout.enabled();
  const DropoutStream stream =
      drops ? MakeDropoutStream(args.dropout, args.dropout.sample_index[b], sizes.keys)
            : DropoutStream{};
  RowNumbers zeros, seen;
  for (int64_t r = 0; r < block.rows; ++r) {
    for (const cpu::KeySegment& segment : block.segments()) {
      float* row = strip + r * sizes.strip_stride() + segment.column;
      if (!segment.keys[r].empty()) {
        const StripColumns columns(segment.keys[r], segment.origin);
        RectifyRow(columns, row);
        if (drops) DropRow(stream, h * args.T_ + block.first + r, columns, segment.origin, row);
      }
      ZeroUnseen(segment.groups[r / cpu::kTileRows], segment.keys[r], segment.origin, row);
    }
    seen[r] = static_cast<float>(KeysSeen(block, r));
    normalizer[r] = r < block.seeing ? stream.scale / seen[r] : 0;
  }
  if (args.log_sum_exp == nullptr) return;
  StoreLogSumExp(zeros, seen, block, args.log_sum_exp + (b * args.H + h) * args.T_ + block.first);
}

// The strip: scores → dropped-out probabilities, unnormalized unless they are clipped.
// normalizer[r]: what row r of the product with the values still has to be multiplied by, but for
// the gate.
template <typename T>
void SoftmaxStrip(const AttentionForwardArgs<T>& args, int64_t b, int64_t h,
                  const cpu::QueryBlock& block, float* strip, float* normalizer) {
  if (args.weights == AttentionWeights::kRelu) {
    return RectifyStrip(args, b, h, block, strip, normalizer);
  }
  const int64_t strip_stride = cpu::ScratchSizes::Of(args).strip_stride();
  const int64_t dropout_columns = cpu::ScratchSizes::Of(args).keys;
  const bool drops = args.dropout.enabled(), clips = args.clip.enabled();
  const float stretch = args.clip.zeta - args.clip.gamma;
  const DropoutStream stream =
      drops ? MakeDropoutStream(args.dropout, args.dropout.sample_index[b], dropout_columns)
            : DropoutStream{};
  RowNumbers largest, sums;
  // One loop after another: each keeps many rows in flight, which one after the other would wait
  // for its own maximum and sum.
  for (int64_t r = 0; r < block.seeing; ++r) {
    largest[r] = LargestScore(block, r, strip + r * strip_stride);
  }
  if (args.sink != SoftmaxSink::kNone) JoinSink(SinkLogit(args, h), largest, sums);
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = strip + r * strip_stride;
    for (const cpu::KeySegment& segment : block.segments()) {
      if (!segment.keys[r].empty()) {
        const StripColumns columns(segment.keys[r], segment.origin);
        sums[r] += ExponentiateRow(columns, largest[r], row + segment.column);
      }
      ZeroUnseen(segment.groups[r / cpu::kTileRows], segment.keys[r], segment.origin,
                 row + segment.column);
    }
    normalizer[r] = r < block.seeing ? stream.scale / sums[r] : 0;
  }
  for (int64_t r = 0; r < block.seeing && (clips || drops); ++r) {
    for (const cpu::KeySegment& segment : block.segments()) {
      if (segment.keys[r].empty()) continue;
      const StripColumns columns(segment.keys[r], segment.origin);
      float* row = strip + r * strip_stride + segment.column;
      if (clips) ClipRow(columns, stretch / sums[r], args.clip.gamma, row);
      if (drops) {
        DropRow(stream, h * args.T_ + block.first + r, columns, segment.origin, row);
      }
    }
    if (clips) normalizer[r] = stream.scale;
  }
  if (args.log_sum_exp == nullptr) return;
  StoreLogSumExp(largest, sums, block, args.log_sum_exp + (b * args.H + h) * args.T_ + block.first);
}

// The product with the values, normalized and gated, as the output.
template <typename T>
void StoreOutput(const AttentionForwardArgs<T>& args, int64_t b, int64_t h,
                 const cpu::QueryBlock& block, const float* product, const float* normalizer) {
  const int64_t row_stride = cpu::PackedRowStride(args.D);
  const bool query_gate = args.gate_site == GateSite::kQuery;
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t head = (b * args.T_ + block.first + r) * args.H + h;
    const float* row = product + r * row_stride;
    T* out = args.out + head * args.D;
    if (query_gate && args.gate_per_channel) {
      UnpackGatedRow(row, args.D, normalizer[r], args.gate + head * args.D, out);
    } else {
      UnpackRow(row, args.D, normalizer[r] * (query_gate ? args.gate[head] : 1), out);
    }
  }
}

template <typename T>
void ForwardBlock(const AttentionForwardArgs<T>& args, int64_t b, int64_t h, int64_t block_index,
                  const cpu::ForwardScratch& scratch, cpu::RowPrefetcher& prefetcher) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const cpu::QueryBlock block(args.mask, args.T_, sizes.keys - args.T_, b, block_index);
  const int64_t row_stride = sizes.row_stride(), strip_stride = sizes.strip_stride();
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    PackRow(args.q + token * args.qkv_stride + h * args.D, args.D, args.scale,
            scratch.queries + r * row_stride);
  }
  float normalizer[cpu::kQueryBlock];
  for (const cpu::KeySegment& segment : block.segments()) {
    MultiplyByColumns(segment, scratch.queries, args.D, scratch.keys_transposed,
                      scratch.strip + segment.column, strip_stride, prefetcher);
  }
  SoftmaxStrip(args, b, h, block, scratch.strip, normalizer);
  std::fill_n(scratch.out, block.rows * row_stride, 0.0f);
  for (const cpu::KeySegment& segment : block.segments()) {
    AddProductByRows(segment, scratch.strip + segment.column, strip_stride, scratch.values, args.D,
                     scratch.out, prefetcher);
  }
  StoreOutput(args, b, h, block, scratch.out, normalizer);
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
  const cpu::ForwardScratch scratch(allocator, cpu::ScratchSizes::Of(args));
  PackKeysAndValues(args, item.b, item.h, scratch);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, item);
  for (int64_t block = item.first_block; block < item.end_block; ++block) {
    ForwardBlock(args, item.b, item.h, block, scratch, prefetcher);
  }
}

#if HWY_TARGET == HWY_AVX3
void ForwardBlockAmx(const AttentionForwardArgs<bf16>& args, const cpu::ForwardItem& item,
                     int64_t block_index, const cpu::AmxForwardScratch& scratch,
                     cpu::RowPrefetcher& prefetcher) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t b = item.b, h = item.h, depth = cpu::AmxDepth(args.D);
  const cpu::QueryBlock block(args.mask, args.T_, sizes.keys - args.T_, b, block_index);
  const int64_t strip_stride = sizes.strip_stride(), key_stride = cpu::AmxKeyStride(sizes.keys);
  const bool exact = ScaleIsExact(args.scale);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t token = b * args.T_ + block.first + r;
    CopyRow(args.q + token * args.qkv_stride + h * args.D, args.D, exact ? args.scale : 1, nullptr,
            scratch.queries + r * depth);
  }
  std::fill(scratch.queries + block.rows * depth, scratch.queries + cpu::kQueryBlock * depth,
            bf16(0.0f));
  for (const cpu::KeySegment& segment : block.segments()) {
    MultiplyByKeys(sizes, block, segment, scratch.queries, scratch.key_columns,
                   scratch.strip + segment.column);
  }
  if (!exact) ScaleStrip(block, args.scale, scratch.strip, strip_stride);
  prefetcher.Advance();
  float normalizer[cpu::kQueryBlock];
  SoftmaxStrip(args, b, h, block, scratch.strip, normalizer);
  prefetcher.Advance();
  std::fill_n(scratch.out, cpu::kQueryBlock * sizes.row_stride(), 0.0f);
  for (const cpu::KeySegment& segment : block.segments()) {
    RoundStrip(sizes, block, segment, scratch.strip + segment.column, scratch.weights, nullptr);
    AddProductByKeys(sizes, block, segment, scratch.weights, scratch.value_pairs, scratch.out);
  }
  StoreOutput(args, b, h, block, scratch.out, normalizer);
}

void ForwardItemAmx(const AttentionForwardArgs<bf16>& args, const cpu::ForwardItem& item,
                    float* memory) {
  cpu::Scratch allocator(memory);
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const cpu::AmxForwardScratch scratch(allocator, sizes);
  const int64_t depth = cpu::AmxDepth(args.D), padded = RoundUp(sizes.keys, cpu::kAmxDepth);
  const int64_t tokens = cpu::VisibleTokens(args.mask, args.T_, item.b);
  CopyHeadRows(KeysOf<bf16>(args, item.b, item.h), tokens, args.D, padded, scratch.rows);
  TransposeWords(scratch.rows, depth, padded, depth / 2, scratch.key_columns,
                 2 * cpu::AmxKeyStride(sizes.keys));
  CopyHeadRows(ValuesOf<bf16>(args, item.b, item.h), tokens, args.D, padded, scratch.rows);
  PairRows(scratch.rows, depth, padded, depth, scratch.value_pairs, 2 * depth);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, item);
  prefetcher.SpreadOver(2 * (item.end_block - item.first_block));
  cpu::BeginTiles();
  for (int64_t block = item.first_block; block < item.end_block; ++block) {
    ForwardBlockAmx(args, item, block, scratch, prefetcher);
  }
  cpu::EndTiles();
}
#endif  // HWY_TARGET == HWY_AVX3

void ForwardItemFloat(const AttentionForwardArgs<float>& args, const cpu::ForwardItem& item,
                      float* memory) {
  ForwardItem(args, item, memory);
}
void ForwardItemBf16(const AttentionForwardArgs<bf16>& args, const cpu::ForwardItem& item,
                     float* memory) {
#if HWY_TARGET == HWY_AVX3
  if (cpu::HasAmxTiles()) return ForwardItemAmx(args, item, memory);
#endif
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
  const auto sizes = cpu::ScratchSizes::Largest(T, D);
  return threads * cpu::ForwardFloats(sizes) * static_cast<int64_t>(sizeof(float));
}

namespace cpu {

template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& args) {
  CHECK_EQ(args.gate == nullptr, args.gate_site == GateSite::kNone);
  CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
  CHECK(args.workspace != nullptr);
  CHECK_EQ(args.sink_logit == nullptr, args.sink != SoftmaxSink::kLogit);
  CHECK_EQ(args.sink_key == nullptr, args.sink_value == nullptr);
  CHECK(args.weights == AttentionWeights::kSoftmax ||
        (!args.clip.enabled() && args.sink == SoftmaxSink::kNone));
  CHECK(args.clip.gamma <= 0 && args.clip.zeta >= 1) << args.clip.gamma << ", " << args.clip.zeta;
  const int64_t scratch_floats = ForwardFloats(ScratchSizes::Of(args));
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
