#include "kernels/api/integer_linear.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/parallel.h"
#include "core/status.h"
#include "kernels/cpu/highway_targets.h"
#include "kernels/cpu/linear_state.h"
#include "kernels/cpu/onednn_cache.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/integer_linear.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector headers come after highway.h
#include "kernels/cpu/vector_memory.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// The first `count` lanes; those beyond a whole vector are not asked for.
template <class D>
HWY_INLINE hn::Vec<D> LoadLanes(D d, const hn::TFromD<D>* p, int64_t count) {
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, p);
  alignas(64) hn::TFromD<D> lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, p, static_cast<size_t>(count) * sizeof(lanes[0]));
  return hn::Load(d, lanes);
}

template <class D>
HWY_INLINE void StoreLanes(D d, hn::Vec<D> v, hn::TFromD<D>* p, int64_t count) {
  if (count >= static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(v, d, p);
  alignas(64) hn::TFromD<D> lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  std::memcpy(p, lanes, static_cast<size_t>(count) * sizeof(lanes[0]));
}

// Codes of one row of x: (K), or with two copies their halves, (2, K).
HWY_INLINE void EncodeRow(const IntegerLinearArgs<float>& args, const float* x, int64_t copies,
                          uint8_t* codes) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> di32;
  const hn::Rebind<uint8_t, decltype(df)> du8;
  const auto scale = hn::Set(df, args.x_scale);
  // Clamped before the rounding, so that what is far outside does not leave the integers.
  const auto lowest = hn::Set(df, static_cast<float>(-args.x_zero_point));
  const auto highest = hn::Set(df, static_cast<float>(255 - args.x_zero_point));
  const auto zero_point = hn::Set(di32, args.x_zero_point);
  ForEachVector(df, 0, args.K, [&](int64_t k, auto memory) HWY_ATTR {
    const auto steps = hn::Div(memory.Load(df, x + k), scale);
    const auto clamped = hn::Min(hn::Max(steps, lowest), highest);
    const auto code = hn::Add(hn::NearestInt(clamped), zero_point);
    const int64_t count = args.K - k;
    if (copies == 1) {
      StoreLanes(du8, hn::DemoteTo(du8, code), codes + k, count);
    } else {
      const auto half = hn::ShiftRight<1>(code);
      StoreLanes(du8, hn::DemoteTo(du8, half), codes + k, count);
      StoreLanes(du8, hn::DemoteTo(du8, hn::Sub(code, half)), codes + args.K + k, count);
    }
  });
}

// One row of y, where sums lie as whole numbers of 32 bits, becomes fp32.
HWY_INLINE void RescaleRow(const IntegerLinearArgs<float>& args, float* y) {
  const hn::CappedTag<float, 16> df;
  const hn::RebindToSigned<decltype(df)> di32;
  const auto* sums = reinterpret_cast<const int32_t*>(y);
  ForEachVector(df, 0, args.M, [&](int64_t m, auto memory) HWY_ATTR {
    const int64_t count = args.M - m;
    const auto sum =
        hn::Sub(LoadLanes(di32, sums + m, count), LoadLanes(di32, args.offset + m, count));
    auto value = hn::Mul(hn::ConvertTo(df, sum), memory.Load(df, args.scales + m));
    if (args.bias != nullptr) value = hn::Add(value, memory.Load(df, args.bias + m));
    memory.Store(df, value, y + m);
  });
}

void EncodeRows(const IntegerLinearArgs<float>& args, int64_t copies, uint8_t* codes, int64_t begin,
                int64_t end) {
  for (int64_t n = begin; n < end; ++n) {
    EncodeRow(args, args.x + n * args.x_stride, copies, codes + n * copies * args.K);
  }
}

void RescaleRows(const IntegerLinearArgs<float>& args, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; ++n) RescaleRow(args, args.y + n * args.y_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sluice {
namespace {

HWY_EXPORT(EncodeRows);
HWY_EXPORT(RescaleRows);

constexpr int64_t kElementsPerGrain = 4096;

int64_t RowsPerGrain(int64_t columns) { return std::max<int64_t>(1, kElementsPerGrain / columns); }

void CheckArguments(const IntegerLinearArgs<float>& args) {
  CHECK_GE(args.N, 0);
  CHECK_GE(args.K, 1);
  CHECK_LE(args.K, kIntegerLinearMaxInner);
  CHECK_GE(args.M, 1);
  CHECK_GE(args.x_stride, args.K);
  CHECK_GE(args.y_stride, args.M);
  CHECK_GT(args.x_scale, 0);
  CHECK(args.x_zero_point >= 0 && args.x_zero_point <= 255) << args.x_zero_point;
}

}  // namespace

namespace cpu {

int64_t IntegerWeightCopies() { return HasExactInt8Matmul() ? 1 : 2; }

// y is where oneDNN puts the sums, which are as wide, so that no other memory is needed for them.
absl::Status IntegerLinear(LinearCache& cache, const IntegerLinearArgs<float>& args) {
  CheckArguments(args);
  if (args.N == 0) return absl::OkStatus();
  CHECK(args.x != nullptr && args.weight != nullptr && args.offset != nullptr &&
        args.scales != nullptr && args.y != nullptr)
      << "null operand";
  LinearCache::State& state = cache.state();
  const int64_t copies = IntegerWeightCopies(), inner = copies * args.K;
  const MatmulShape shape = {.rows = args.N,
                             .b = {.inner = inner,
                                   .columns = args.M,
                                   .inner_stride = 1,
                                   .column_stride = inner,
                                   .type = ElementType::kInt8},
                             .a_stride = inner,
                             .c_stride = args.y_stride,
                             .c_type = ElementType::kInt32,
                             .threads = ComputeThreads()};
  ASSIGN_OR_RETURN(Matmul * matmul, state.library.FindMatmul(shape));
  if (matmul == nullptr) return NoProductError(shape);
  ASSIGN_OR_RETURN(char* codes, state.widened.Reserve(args.N * inner));
  ASSIGN_OR_RETURN(char* scratch, state.scratch.Reserve(matmul->scratch_bytes));
  auto* unsigned_codes = reinterpret_cast<uint8_t*>(codes);
  ParallelFor(args.N, RowsPerGrain(args.K), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(EncodeRows)(args, copies, unsigned_codes, begin, end);
  });
  RETURN_IF_ERROR(state.library.Run(
      *matmul, {.a = codes, .b = args.weight, .bias = nullptr, .c = args.y}, scratch));
  ParallelFor(args.N, RowsPerGrain(args.M), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RescaleRows)(args, begin, end);
  });
  return absl::OkStatus();
}

}  // namespace cpu
}  // namespace sluice
#endif  // HWY_ONCE
