// Backward attention with its five products on AMX, in bf16 with fp32 sums; strips, statistics and
// gates are those of attention_backward_stages.h. A Highway "-inl" header, for AVX-512 only.
//
// dK and dV are summed as their transposes, dKᵀ = Σ Qᵀ · dS over the query blocks: pairs of rows of
// dS are two rows woven together, where a transposed dS would have to be transposed.
#if defined(SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_AMX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_AMX_H_
#undef SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_AMX_H_
#else
#define SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_AMX_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/attention_amx.h"
#include "kernels/cpu/attention_amx_plan.h"
#include "kernels/cpu/attention_backward_stages.h"

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3

// Both forms of an operand that a block's rows contribute: (rows, D) and its transpose.
void TransposeBlock(const bf16* rows, int64_t D, bf16* pairs, bf16* transposed) {
  const int64_t depth = cpu::AmxDepth(D);
  PairRows(rows, depth, cpu::kQueryBlock, depth, pairs, 2 * depth);
  TransposeWords(pairs, 2 * depth, cpu::kQueryBlock / 2, depth, transposed, cpu::kQueryBlock);
}

void PackBlockAmx(const AttentionBackwardArgs<bf16>& args, const cpu::QueryBlock& block,
                  const cpu::AmxBackwardScratch& scratch, const HeadSums& head) {
  const int64_t depth = cpu::AmxDepth(args.D);
  const bool channel_gate = args.gate_site == GateSite::kQuery && args.gate_per_channel;
  const float scale = ScaleIsExact(args.scale) ? args.scale : 1;
  for (int64_t r = 0; r < block.seeing; ++r) {
    const int64_t token = head.b * args.T_ + block.first + r;
    const int64_t at = (token * args.H + head.h) * args.D;
    CopyRow(args.q + token * args.qkv_stride + head.h * args.D, args.D, scale, nullptr,
            scratch.queries + r * depth);
    CopyRow(args.dout + at, args.D, 1, channel_gate ? args.gate + at : nullptr,
            scratch.douts + r * depth);
  }
  for (bf16* rows : {scratch.queries, scratch.douts}) {  // padding may be anything
    std::fill(rows + block.seeing * depth, rows + cpu::kQueryBlock * depth, bf16(0.0f));
  }
  TransposeBlock(scratch.queries, args.D, scratch.row_pairs, scratch.queries_transposed);
  TransposeBlock(scratch.douts, args.D, scratch.row_pairs, scratch.douts_transposed);
}

// Everything of a block that comes after its strips.
void AddBlockGradientsAmx(const AttentionBackwardArgs<bf16>& args, const cpu::QueryBlock& block,
                          const cpu::BackwardScratch& floats,
                          const cpu::AmxBackwardScratch& scratch) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t strip_stride = sizes.strip_stride(), key_stride = cpu::AmxKeyStride(sizes.keys);
  std::fill_n(floats.dqueries, cpu::kQueryBlock * sizes.row_stride(), 0.0f);
  for (const cpu::KeySegment& segment : block.segments()) {
    RoundStrip(sizes, block, segment, floats.strip + segment.column, nullptr, scratch.strip_pairs);
    AddProductOverRows(sizes, block, segment, scratch.douts_transposed, scratch.strip_pairs,
                       scratch.dvalues_transposed);
    RoundStrip(sizes, block, segment, floats.dstrip + segment.column, scratch.strip_rows,
               scratch.strip_pairs);
    AddProductOverRows(sizes, block, segment, scratch.queries_transposed, scratch.strip_pairs,
                       scratch.dkeys_transposed);
    AddProductByKeys(sizes, block, segment, scratch.strip_rows, scratch.key_pairs, floats.dqueries);
  }
}

void BackwardBlockAmx(const AttentionBackwardArgs<bf16>& args, int64_t block_index,
                      const cpu::BackwardScratch& floats, const cpu::AmxBackwardScratch& scratch,
                      HeadSums& head, cpu::RowPrefetcher& prefetcher) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const cpu::QueryBlock block(args.mask, args.T_, sizes.keys - args.T_, head.b, block_index);
  const int64_t strip_stride = sizes.strip_stride(), key_stride = cpu::AmxKeyStride(sizes.keys);
  PackBlockAmx(args, block, scratch, head);
  for (const cpu::KeySegment& segment : block.segments()) {
    MultiplyByKeys(sizes, block, segment, scratch.queries, scratch.key_columns,
                   floats.strip + segment.column);
    MultiplyByKeys(sizes, block, segment, scratch.douts, scratch.value_columns,
                   floats.dstrip + segment.column);
  }
  if (!ScaleIsExact(args.scale)) ScaleStrip(block, args.scale, floats.strip, strip_stride);
  prefetcher.Advance();
  DifferentiateStrip(args, block, floats, head);
  prefetcher.Advance();
  if (sizes.ungated_output) {
    std::fill_n(floats.dqueries, cpu::kQueryBlock * sizes.row_stride(), 0.0f);
    for (const cpu::KeySegment& segment : block.segments()) {
      RoundStrip(sizes, block, segment, floats.strip + segment.column, scratch.strip_rows, nullptr);
      AddProductByKeys(sizes, block, segment, scratch.strip_rows, scratch.value_pairs,
                       floats.dqueries);
    }
    DifferentiateChannelGate(args, block, floats.dqueries, head);
  }
  AddBlockGradientsAmx(args, block, floats, scratch);
  StoreQueryGradients(args, block, floats.dqueries, head);
}

void PackHeadAmx(const AttentionBackwardArgs<bf16>& args, const HeadSums& head,
                 const cpu::AmxBackwardScratch& scratch) {
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  const int64_t depth = cpu::AmxDepth(args.D), padded = RoundUp(sizes.keys, cpu::kAmxDepth);
  const int64_t stride = cpu::AmxKeyStride(sizes.keys);
  const int64_t tokens = cpu::VisibleTokens(args.mask, args.T_, head.b);
  CopyHeadRows(ValuesOf<bf16>(args, head.b, head.h), tokens, args.D, padded, scratch.rows);
  TransposeWords(scratch.rows, depth, padded, depth / 2, scratch.value_columns, 2 * stride);
  if (sizes.ungated_output) {
    PairRows(scratch.rows, depth, padded, depth, scratch.value_pairs, 2 * depth);
  }
  CopyHeadRows(KeysOf<bf16>(args, head.b, head.h), tokens, args.D, padded, scratch.rows);
  TransposeWords(scratch.rows, depth, padded, depth / 2, scratch.key_columns, 2 * stride);
  PairRows(scratch.rows, depth, padded, depth, scratch.key_pairs, 2 * depth);
  std::fill_n(scratch.dkeys_transposed, depth * stride, 0.0f);
  std::fill_n(scratch.dvalues_transposed, depth * stride, 0.0f);
}

// rows (keys, D) = the transpose of sums (D, keys), times factor.
void TransposeSums(const cpu::ScratchSizes& sizes, const float* sums, float factor, float* rows) {
  const FloatTag df;
  const int64_t stride = cpu::AmxKeyStride(sizes.keys), row_stride = sizes.row_stride();
  for (int64_t key = 0; key < sizes.keys; key += 16) {
    for (int64_t d = 0; d < sizes.D; d += 16) {
      float* square = rows + key * row_stride + d;
      TransposeSquare<16>(sums + d * stride + key, stride, square, row_stride);
      for (int64_t i = 0; i < 16 && factor != 1; ++i) {
        float* row = square + i * row_stride;
        hn::Store(hn::Mul(hn::Load(df, row), hn::Set(df, factor)), df, row);
      }
    }
  }
}

void BackwardHeadAmx(const AttentionBackwardArgs<bf16>& args, const cpu::BackwardItem& item) {
  HeadSums head = {.b = item.head / args.H, .h = item.head % args.H, .sink_logit = 0};
  const cpu::ScratchSizes sizes = cpu::ScratchSizes::Of(args);
  cpu::Scratch allocator(item.memory);
  const cpu::BackwardScratch floats(allocator, sizes);
  const cpu::AmxBackwardScratch scratch(allocator, sizes);
  PackHeadAmx(args, head, scratch);
  cpu::RowPrefetcher prefetcher = MakePrefetcher(args, item.head, item.next_head);
  const int64_t blocks = CeilDiv(args.T_, cpu::kQueryBlock);
  prefetcher.SpreadOver(2 * blocks);
  cpu::BeginTiles();
  for (int64_t block = 0; block < blocks; ++block) {
    BackwardBlockAmx(args, block, floats, scratch, head, prefetcher);
  }
  cpu::EndTiles();
  TransposeSums(sizes, scratch.dkeys_transposed, ScaleIsExact(args.scale) ? 1 : args.scale,
                floats.dkeys);
  TransposeSums(sizes, scratch.dvalues_transposed, 1, floats.dvalues);
  StoreKeyGradients(args, head, floats, item.sink_sums);
}

#endif  // HWY_TARGET == HWY_AVX3

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#endif  // SLUICE_KERNELS_CPU_ATTENTION_BACKWARD_AMX_H_
