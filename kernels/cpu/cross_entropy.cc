// A row of logits (119 KiB for BERT's vocabulary) is read from memory once; the passes for its
// largest value, its sum and its gradient then find it in the second-level cache.
#include "kernels/api/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/parallel.h"
#include "kernels/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/vector_memory.h"
// clang-format on

#ifndef SLUICE_KERNELS_CPU_CROSS_ENTROPY_ONCE_
#define SLUICE_KERNELS_CPU_CROSS_ENTROPY_ONCE_
namespace sluice {
namespace {

struct RowOutcome {
  double loss = 0;
  bool counted = false;
  bool correct = false;
};

}  // namespace
}  // namespace sluice
#endif

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// NaN may get lost here; it comes back through the sum.
HWY_INLINE float LargestOf(const float* row, int64_t V) {
  const hn::CappedTag<float, 16> df;
  const auto lowest = hn::Set(df, -std::numeric_limits<float>::infinity());
  auto largest = lowest;
  ForEachVector(df, 0, V, [&](int64_t v, auto memory) HWY_ATTR {
    largest = hn::Max(largest, memory.Keep(df, memory.Load(df, row + v), lowest));
  });
  return hn::GetLane(hn::MaxOfLanes(df, largest));
}

// Σ e^(row[v] - largest): in float over blocks, the blocks in double, so that the error does not
// grow with the vocabulary.
HWY_INLINE double SumOfExponentials(const float* row, int64_t V, float largest) {
  constexpr int64_t kBlock = 512;
  const hn::CappedTag<float, 16> df;
  const auto shift = hn::Set(df, largest);
  double total = 0;
  for (int64_t begin = 0; begin < V; begin += kBlock) {
    auto sum = hn::Zero(df);
    ForEachVector(df, begin, std::min(V, begin + kBlock), [&](int64_t v, auto memory) HWY_ATTR {
      const auto e = ExpOfNonPositive(df, hn::Sub(memory.Load(df, row + v), shift));
      sum = hn::Add(sum, memory.Keep(df, e, hn::Zero(df)));
    });
    total += hn::GetLane(hn::SumOfLanes(df, sum));
  }
  return total;
}

// Whether any of the first `count` logits equals `value`.
HWY_INLINE bool Contains(const float* row, int64_t count, float value) {
  const hn::CappedTag<float, 16> df;
  const auto sought = hn::Set(df, value);
  const auto other = hn::Set(df, -std::numeric_limits<float>::infinity());
  bool found = false;
  ForEachVector(df, 0, count, [&](int64_t v, auto memory) HWY_ATTR {
    const auto logits = memory.Keep(df, memory.Load(df, row + v), other);
    found = found || !hn::AllFalse(df, hn::Eq(logits, sought));
  });
  return found;
}

template <typename T>
HWY_INLINE void StoreGradient(const float* logits, int64_t V, float largest, float factor,
                              T* dlogits) {
  const hn::CappedTag<float, 16> df;
  const auto shift = hn::Set(df, largest);
  const auto scale = hn::Set(df, factor);
  ForEachVector(df, 0, V, [&](int64_t v, auto memory) HWY_ATTR {
    const auto e = ExpOfNonPositive(df, hn::Sub(memory.Load(df, logits + v), shift));
    memory.Store(df, hn::Mul(e, scale), dlogits + v);
  });
}

template <typename T>
HWY_INLINE RowOutcome Row(const CrossEntropyArgs<T>& args, int64_t m) {
  const float* logits = args.logits + m * args.V;
  T* dlogits = args.dlogits == nullptr ? nullptr : args.dlogits + m * args.V;
  const int64_t target = args.targets[m];
  if (target < 0) {
    if (dlogits != nullptr) {
      std::memset(static_cast<void*>(dlogits), 0, static_cast<size_t>(args.V) * sizeof(T));
    }
    return {};
  }
  const float largest = LargestOf(logits, args.V);
  const double sum = SumOfExponentials(logits, args.V, largest);
  const float target_logit = logits[target];
  const RowOutcome outcome = {
      .loss = std::log(sum) + (static_cast<double>(largest) - target_logit),
      .counted = true,
      .correct = target_logit == largest && !Contains(logits, target, largest)};
  if (dlogits != nullptr) {
    // May overwrite the logits.
    const double scale = args.gradient_scale;
    StoreGradient(logits, args.V, largest, static_cast<float>(scale / sum), dlogits);
    const double probability = std::exp(static_cast<double>(target_logit) - largest) / sum;
    dlogits[target] = static_cast<T>(static_cast<float>(scale * (probability - 1)));
  }
  return outcome;
}

void RowFloat(const CrossEntropyArgs<float>& args, int64_t m, RowOutcome& outcome) {
  outcome = Row(args, m);
}
void RowBf16(const CrossEntropyArgs<bf16>& args, int64_t m, RowOutcome& outcome) {
  outcome = Row(args, m);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <type_traits>

namespace sluice {
namespace {

HWY_EXPORT(RowFloat);
HWY_EXPORT(RowBf16);

// 64 KiB of outcomes. Many, since workers wait for each other behind each round, and rows of a
// small vocabulary take no time.
constexpr int64_t kRowsPerRound = 4096;

}  // namespace

namespace cpu {

// Rows are added up in order by the calling thread, so the sum does not depend on the workers.
template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args) {
  RowOutcome outcomes[kRowsPerRound];
  for (int64_t first = 0; first < args.M; first += kRowsPerRound) {
    const int64_t rows = std::min(kRowsPerRound, args.M - first);
    ParallelFor(rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        CHECK_LT(args.targets[first + i], args.V);
        if constexpr (std::is_same_v<T, float>) {
          HWY_DYNAMIC_DISPATCH(RowFloat)(args, first + i, outcomes[i]);
        } else {
          HWY_DYNAMIC_DISPATCH(RowBf16)(args, first + i, outcomes[i]);
        }
      }
    });
    for (int64_t i = 0; i < rows; ++i) {
      *args.loss_sum += outcomes[i].loss;
      *args.target_count += outcomes[i].counted;
      if (args.correct_count != nullptr) *args.correct_count += outcomes[i].correct;
      if (args.row_loss != nullptr) args.row_loss[first + i] = static_cast<float>(outcomes[i].loss);
    }
  }
  return absl::OkStatus();
}

template absl::Status CrossEntropy(const CrossEntropyArgs<float>& args);
template absl::Status CrossEntropy(const CrossEntropyArgs<bf16>& args);

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
