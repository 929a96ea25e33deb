// Backward without atomics: every row of a gradient belongs to one worker, which adds to it in
// rising order of n. For tokens a counting sort brings the rows of one token together.
#include "kernels/api/embedding.h"

#include <algorithm>

#include "core/check.h"
#include "core/integer_math.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// sum[c] += row[c] for `columns` columns.
template <typename T>
HWY_INLINE void AddRow(const T* HWY_RESTRICT row, int64_t columns, float* HWY_RESTRICT sum) {
  const hn::CappedTag<float, 16> df;
  ForEachVector(df, 0, columns, [&](int64_t c, auto memory) HWY_ATTR {
    memory.Store(df, hn::Add(memory.Load(df, sum + c), memory.Load(df, row + c)), sum + c);
  });
}

template <typename T>
HWY_INLINE void ForwardRows(const EmbeddingForwardArgs<T>& args, int64_t begin, int64_t end) {
  const hn::CappedTag<float, 16> df;
  const int64_t C = args.C;
  for (int64_t n = begin; n < end; ++n) {
    const T* token = args.token_table != nullptr ? args.token_table + args.tokens[n] * C
                                                 : args.projected + n * C;
    const T* position = args.position_table + (args.position_offset + n % args.T_) * C;
    const int64_t segment_index = args.segments == nullptr ? 0 : args.segments[n];
    const T* segment =
        args.segment_table == nullptr ? nullptr : args.segment_table + segment_index * C;
    T* y = args.y + EmbeddingRow(n, args.T_, args.R) * C;
    ForEachVector(df, 0, C, [&](int64_t c, auto memory) HWY_ATTR {
      auto sum = hn::Add(memory.Load(df, token + c), memory.Load(df, position + c));
      if (segment != nullptr) sum = hn::Add(sum, memory.Load(df, segment + c));
      memory.Store(df, sum, y + c);
    });
  }
}

// sum += the rows of dy that belong to tokens[0 … count).
template <typename T>
HWY_INLINE void AddRowsOf(const EmbeddingBackwardArgs<T>& args, const int32_t* tokens,
                          int64_t count, float* sum) {
  for (int64_t i = 0; i < count; ++i) {
    AddRow(args.dy + EmbeddingRow(tokens[i], args.T_, args.R) * args.C, args.C, sum);
  }
}

// Rows begin … end - 1 of every sequence: the register rows, then the positions.
template <typename T>
HWY_INLINE void AddPositions(const EmbeddingBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const int64_t row_length = args.R + args.T_, rows = args.N / args.T_ * row_length;
  for (int64_t i = begin; i < end; ++i) {
    float* table = i < args.R ? args.dregister_table : args.dposition_table;
    if (table == nullptr) continue;
    float* sum = table + (i < args.R ? i : args.position_offset + i - args.R) * args.C;
    for (int64_t row = i; row < rows; row += row_length) {
      AddRow(args.dy + row * args.C, args.C, sum);
    }
  }
}

// Columns begin … end - 1 of the segment table. A segment takes up half of all rows: runs of rows
// are summed on their own first, so that no float sum has thousands of terms.
template <typename T>
HWY_INLINE void AddSegments(const EmbeddingBackwardArgs<T>& args, int64_t begin, int64_t end) {
  constexpr int64_t kColumns = 512, kLongestRun = 64;
  alignas(64) float run_sum[kColumns];
  const auto segment_of = [&](int64_t n) { return args.segments ? args.segments[n] : 0; };
  for (int64_t c = begin; c < end; c += kColumns) {
    const int64_t columns = std::min(kColumns, end - c);
    for (int64_t n = 0; n < args.N;) {
      const int64_t segment = segment_of(n), limit = std::min(args.N, n + kLongestRun);
      std::fill(run_sum, run_sum + columns, 0.0f);
      for (; n < limit && segment_of(n) == segment; ++n) {
        AddRow(args.dy + EmbeddingRow(n, args.T_, args.R) * args.C + c, columns, run_sum);
      }
      AddRow(run_sum, columns, args.dsegment_table + segment * args.C + c);
    }
  }
}

void ForwardRowsFloat(const EmbeddingForwardArgs<float>& args, int64_t begin, int64_t end) {
  ForwardRows(args, begin, end);
}
void ForwardRowsBf16(const EmbeddingForwardArgs<bf16>& args, int64_t begin, int64_t end) {
  ForwardRows(args, begin, end);
}
void AddRowsOfFloat(const EmbeddingBackwardArgs<float>& args, const int32_t* rows, int64_t count,
                    float* sum) {
  AddRowsOf(args, rows, count, sum);
}
void AddRowsOfBf16(const EmbeddingBackwardArgs<bf16>& args, const int32_t* rows, int64_t count,
                   float* sum) {
  AddRowsOf(args, rows, count, sum);
}
void AddPositionsFloat(const EmbeddingBackwardArgs<float>& args, int64_t begin, int64_t end) {
  AddPositions(args, begin, end);
}
void AddPositionsBf16(const EmbeddingBackwardArgs<bf16>& args, int64_t begin, int64_t end) {
  AddPositions(args, begin, end);
}
void AddSegmentsFloat(const EmbeddingBackwardArgs<float>& args, int64_t begin, int64_t end) {
  AddSegments(args, begin, end);
}
void AddSegmentsBf16(const EmbeddingBackwardArgs<bf16>& args, int64_t begin, int64_t end) {
  AddSegments(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(ForwardRowsFloat);
HWY_EXPORT(ForwardRowsBf16);
HWY_EXPORT(AddRowsOfFloat);
HWY_EXPORT(AddRowsOfBf16);
HWY_EXPORT(AddPositionsFloat);
HWY_EXPORT(AddPositionsBf16);
HWY_EXPORT(AddSegmentsFloat);
HWY_EXPORT(AddSegmentsBf16);

constexpr int64_t kForwardRowsPerGrain = 8;
constexpr int64_t kColumnsPerGrain = 64;
constexpr int64_t kTokensPerItem = 4;

// The rows of the batch by token.
struct TokenRows {
  int32_t* end;    // (V): where token v's rows end in `rows`; they begin where v - 1's end
  int32_t* rows;   // (N): rows, those of one token together and in rising order
  int32_t* token;  // (distinct): the tokens that occur, rising
  int64_t distinct;
};

// Counting sort in the workspace.
TokenRows SortByToken(const int32_t* tokens, int64_t N, int64_t V, void* workspace) {
  auto* end = static_cast<int32_t*>(workspace);
  TokenRows sorted = {end, end + V, end + V + N, 0};
  std::fill(end, end + V, 0);
  for (int64_t n = 0; n < N; ++n) ++end[tokens[n]];
  int32_t begin = 0;
  for (int64_t v = 0; v < V; ++v) {
    const int32_t count = end[v];
    if (count > 0) sorted.token[sorted.distinct++] = static_cast<int32_t>(v);
    end[v] = begin;
    begin += count;
  }
  for (int64_t n = 0; n < N; ++n) sorted.rows[end[tokens[n]]++] = static_cast<int32_t>(n);
  return sorted;
}

template <typename T>
void AddTokens(const EmbeddingBackwardArgs<T>& args) {
  const TokenRows sorted = SortByToken(args.tokens, args.N, args.V, args.workspace);
  ParallelForDynamic(CeilDiv(sorted.distinct, kTokensPerItem), [&](int, int64_t item) {
    const int64_t last = std::min(sorted.distinct, (item + 1) * kTokensPerItem);
    for (int64_t k = item * kTokensPerItem; k < last; ++k) {
      const int64_t token = sorted.token[k];
      const int64_t begin = token == 0 ? 0 : sorted.end[token - 1];
      const int64_t count = sorted.end[token] - begin;
      float* sum = args.dtoken_table + token * args.C;
      if constexpr (std::is_same_v<T, float>) {
        HWY_DYNAMIC_DISPATCH(AddRowsOfFloat)(args, sorted.rows + begin, count, sum);
      } else {
        HWY_DYNAMIC_DISPATCH(AddRowsOfBf16)(args, sorted.rows + begin, count, sum);
      }
    }
  });
}

template <typename T>
void CopyTokenRows(const EmbeddingBackwardArgs<T>& args) {
  ParallelFor(args.N, kForwardRowsPerGrain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      std::copy_n(args.dy + EmbeddingRow(n, args.T_, args.R) * args.C, args.C,
                  args.dprojected + n * args.C);
    }
  });
}

}  // namespace

int64_t EmbeddingBackwardWorkspaceBytes(int64_t N, int64_t V) {
  return (V + N + std::min(N, V)) * static_cast<int64_t>(sizeof(int32_t));
}

namespace cpu {

template <typename T>
absl::Status EmbeddingForward(const EmbeddingForwardArgs<T>& args) {
  CHECK_EQ(args.token_table == nullptr, args.projected != nullptr);
  CHECK_EQ(args.register_table == nullptr, args.R == 0);
  const int64_t register_values = args.R * args.C;
  for (int64_t b = 0; b < args.N / args.T_ && register_values > 0; ++b) {
    std::copy_n(args.register_table, register_values, args.y + b * (args.R + args.T_) * args.C);
  }
  ParallelFor(args.N, kForwardRowsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(ForwardRowsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(ForwardRowsBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<T>& args) {
  if (args.N == 0) return absl::OkStatus();
  CHECK_LT(args.N, int64_t{1} << 31);
  if (args.dtoken_table != nullptr) AddTokens(args);
  if (args.dprojected != nullptr) CopyTokenRows(args);
  ParallelFor(args.R + args.T_, 1, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(AddPositionsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(AddPositionsBf16)(args, begin, end);
    }
  });
  if (args.dsegment_table == nullptr) return absl::OkStatus();
  ParallelFor(args.C, kColumnsPerGrain, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(AddSegmentsFloat)(args, begin, end);
    } else {
      HWY_DYNAMIC_DISPATCH(AddSegmentsBf16)(args, begin, end);
    }
  });
  return absl::OkStatus();
}

template absl::Status EmbeddingForward(const EmbeddingForwardArgs<float>& args);
template absl::Status EmbeddingForward(const EmbeddingForwardArgs<bf16>& args);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<float>& args);
template absl::Status EmbeddingBackward(const EmbeddingBackwardArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
