#include "kernels/api/adamw.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "gtest/gtest.h"
#include "kernels/update_segments.h"
#include "support/backend.h"
#include "support/compare.h"
#include "support/compute_threads.h"
#include "support/instruction_sets.h"

namespace sluice {
namespace {

using ::sluice::testing::BackendVector;
using ::sluice::testing::Cast;
using ::sluice::testing::ExpectClose;
using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::IsInSegments;
using ::sluice::testing::kOnCuda;
using ::sluice::testing::OnBackend;
using ::sluice::testing::OnEachInstructionSet;
using ::sluice::testing::PoisonedBuffer;
using ::sluice::testing::RandomValues;
using ::sluice::testing::RunOnBackend;
using ::sluice::testing::ScopedComputeThreads;
using ::sluice::testing::SegmentsOf;

template <typename T>
class AdamWTest : public ::testing::Test {};
TYPED_TEST_SUITE(AdamWTest, ::sluice::testing::StorageTypes);

// `n`: elements of the flat buffers. args.segments may be anywhere.
template <typename T>
absl::Status RunAdamW(AdamWArgs<T> args, int64_t n) {
  if constexpr (kOnCuda) {
    const BackendVector<UpdateSegment> segments(args.segments, args.segments + args.segment_count);
    args.segments = segments.data();
    return RunOnBackend([&](cuda::Stream stream) {
      return cuda::AdamW<T>(args, {.elements = n, .gradient_factor = nullptr, .skip = nullptr},
                            stream);
    });
  } else {
    (void)n;
    return cpu::AdamW<T>(args);
  }
}

// The buffers of one optimizer; T is the type of the working weights.
template <typename T>
struct State {
  using A = Accumulator<T>;
  // In [-1, 1]; the second moment positive.
  explicit State(int64_t count)
      : n(count),
        master(Filled(RandomValues(count, 1))),
        gradient(Filled(RandomValues(count, 2, -40, 40))),
        m(Filled(RandomValues(count, 3))),
        v(Filled(RandomValues(count, 4, 0, 1))),
        working(std::is_same_v<T, A> ? 0 : count, 6) {}
  static PoisonedBuffer<A> Filled(const std::vector<double>& values) {
    PoisonedBuffer<A> buffer(static_cast<int64_t>(values.size()), 3 * sizeof(A));
    // What float holds, also in the reference's buffers.
    const auto floats = Cast<float>(values);
    std::copy(floats.begin(), floats.end(), buffer.data());
    return buffer;
  }
  void ExpectCanariesIntact() const {
    for (const auto* buffer : {&master, &gradient, &m, &v}) buffer->ExpectCanariesIntact();
    working.ExpectCanariesIntact();
  }

  int64_t n;
  PoisonedBuffer<A> master, gradient, m, v;
  PoisonedBuffer<T> working;
};

template <typename T>
void Update(State<T>& state, const std::vector<UpdateSegment>& segments, int64_t t) {
  const AdamWArgs<T> args = {.master = state.master.data(),
                             .gradient = state.gradient.data(),
                             .m = state.m.data(),
                             .v = state.v.data(),
                             .working = state.working.size() == 0 ? nullptr : state.working.data(),
                             .segments = segments.data(),
                             .segment_count = static_cast<int64_t>(segments.size()),
                             .gradient_scale = 0.025f,
                             .learning_rate = 0.01f,
                             .beta1 = 0.9f,
                             .beta2 = 0.999f,
                             .eps = 1e-8f,
                             .t = t};
  if constexpr (std::is_same_v<T, double>) {
    reference::AdamW(args);
  } else {
    ASSERT_TRUE(RunAdamW<T>(args, state.n).ok());
  }
  state.ExpectCanariesIntact();
}

// Five roundings a moment; the weight's step is at most lr · (m / correction1) / sqrt(v /
// correction2), which grows by about 8 roundings, and the weight itself is rounded twice.
void ExpectUpdated(const State<float>& actual, const State<double>& expected) {
  ExpectClose("m", actual.m, expected.m,
              {.absolute = 1e-7, .relative = 2.4e-7, .derivation = "two products and a sum"});
  ExpectClose("v", actual.v, expected.v,
              {.absolute = 1e-10, .relative = 3e-7, .derivation = "sums of positive products"});
  double largest_step = 0;
  const auto before = Cast<float>(RandomValues(actual.n, 1));
  for (int64_t i = 0; i < actual.n; ++i) {
    largest_step = std::max(largest_step, std::abs(expected.master[i] - before[i]));
  }
  ExpectClose("master", actual.master, expected.master,
              {.absolute = 1.2e-7 + largest_step * 6e-7,
               .derivation = "two roundings of the weight, ten of the step"});
}

TEST(AdamWFloatTest, MatchesReferenceAndLeavesGapsAlone) {
  OnEachInstructionSet([] {
    for (const int64_t n : {1, 2, 17, 33, 1000, 9007}) {
      for (const int64_t t : {1, 7, 100'000}) {
        SCOPED_TRACE(::testing::Message() << "n " << n << " t " << t);
        const auto segments = SegmentsOf(n);
        State<float> actual(n);
        const State<float> before(n);
        State<double> expected(n);
        Update(actual, segments, t);
        Update(expected, segments, t);
        ExpectUpdated(actual, expected);
        for (int64_t i = 0; i < n; ++i) {
          if (IsInSegments(segments, i)) {
            ASSERT_EQ(actual.gradient[i], 0);
          } else {
            ASSERT_EQ(actual.gradient[i], before.gradient[i]) << "gap at " << i;
            ASSERT_EQ(actual.master[i], before.master[i]) << "gap at " << i;
            ASSERT_EQ(actual.m[i], before.m[i]) << "gap at " << i;
            ASSERT_EQ(actual.v[i], before.v[i]) << "gap at " << i;
          }
        }
      }
    }
  });
}

// The bf16 state has the master and moments of the float one, and a rounded copy beside them.
TEST(AdamWBf16Test, WorkingWeightsAreTheRoundedMaster) {
  OnEachInstructionSet([] {
    for (const int64_t n : {1, 17, 1000}) {
      const auto segments = SegmentsOf(n);
      State<bf16> actual(n);
      State<float> same(n);
      Update(actual, segments, 3);
      Update(same, segments, 3);
      ExpectSameBits("master", actual.master.values(), same.master.values());
      ExpectSameBits("m", actual.m.values(), same.m.values());
      ExpectSameBits("v", actual.v.values(), same.v.values());
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t expected =
            IsInSegments(segments, i) ? bf16(actual.master[i]).bits : uint16_t{0xffff};
        ASSERT_EQ(actual.working[i].bits, expected) << i;
      }
    }
  });
}

// lr 0.1, β 0.9 and 0.99, eps 1, decay 0.5, gradients (times scale 2) 2 and then -1, from w = 1:
//   1: m = 0.2, v = 0.04; m̂ = 2, v̂ = 4; w = 1 - 0.05 - 0.1 · 2 / (2 + 1) = 0.8833333
//   2: m = 0.08, v = 0.0496; m̂ = 0.08 / 0.19, v̂ = 0.0496 / 0.0199, sqrt = 1.5787534;
//      w = 0.8833333 · 0.95 - 0.1 · 0.4210526 / 2.5787534 = 0.8228389
TEST(AdamWFloatTest, FirstTwoStepsByHand) {
  OnEachInstructionSet([] {
    const UpdateSegment segment = {0, 1, 0.5f};
    auto memory = OnBackend<float>({1, 1, 0, 0});
    float &w = memory[0], &gradient = memory[1], &m = memory[2], &v = memory[3];
    AdamWArgs<float> args = {.master = &w,
                             .gradient = &gradient,
                             .m = &m,
                             .v = &v,
                             .working = nullptr,
                             .segments = &segment,
                             .segment_count = 1,
                             .gradient_scale = 2,
                             .learning_rate = 0.1f,
                             .beta1 = 0.9f,
                             .beta2 = 0.99f,
                             .eps = 1,
                             .t = 1};
    ASSERT_TRUE(RunAdamW(args, 1).ok());
    EXPECT_NEAR(m, 0.2, 1e-7);
    EXPECT_NEAR(v, 0.04, 1e-7);
    EXPECT_NEAR(w, 0.8833333, 2e-7);
    EXPECT_EQ(gradient, 0);
    gradient = -0.5f;
    args.t = 2;
    ASSERT_TRUE(RunAdamW(args, 1).ok());
    EXPECT_NEAR(m, 0.08, 1e-7);
    EXPECT_NEAR(v, 0.0496, 1e-7);
    EXPECT_NEAR(w, 0.8228389, 3e-7);
  });
}

TYPED_TEST(AdamWTest, ThreadsDoNotChangeABit) {
  using T = TypeParam;
  const int64_t n = 50'021;
  State<T> first(n);
  Update(first, SegmentsOf(n), 5);
  for (const int threads : {1, 2, 3}) {
    const ScopedComputeThreads scope(threads);
    State<T> again(n);
    Update(again, SegmentsOf(n), 5);
    ExpectSameBits("master", again.master.values(), first.master.values());
    ExpectSameBits("m", again.m.values(), first.m.values());
    ExpectSameBits("v", again.v.values(), first.v.values());
  }
}

TYPED_TEST(AdamWTest, TakesNoSegmentsAndLetsNaNThrough) {
  using T = TypeParam;
  State<T> state(40);
  const State<T> before(40);
  Update(state, {}, 1);
  ExpectSameBits("master", state.master.values(), before.master.values());
  state.gradient[5] = std::nanf("");
  Update(state, {{0, 40, 0}}, 1);
  for (int64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(std::isnan(state.master[i]), i == 5) << i;
    EXPECT_EQ(state.gradient[i], 0) << i;
  }
}

// What the device has decided to skip: nothing changes, and the gradient can still be looked at.
// Elsewhere it is not even called.
template <typename T>
void ExpectSkippedChangesNothing() {
  const State<T> before(5000);
  State<T> state(5000);
  for (int64_t i = 0; i < state.working.size(); ++i)
    state.working.data()[i] = T(state.master.data()[i]);
  const auto segments = OnBackend(SegmentsOf(state.n));
  for (const int32_t skip : {1, 0}) {
    const auto on_device = OnBackend(std::vector<int32_t>{skip});
    ASSERT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                  return cuda::AdamW<T>(
                      {.master = state.master.data(),
                       .gradient = state.gradient.data(),
                       .m = state.m.data(),
                       .v = state.v.data(),
                       .working = state.working.size() == 0 ? nullptr : state.working.data(),
                       .segments = segments.data(),
                       .segment_count = static_cast<int64_t>(segments.size()),
                       .gradient_scale = 1,
                       .learning_rate = 0.01f,
                       .beta1 = 0.9f,
                       .beta2 = 0.999f,
                       .eps = 1e-8f,
                       .t = 1},
                      {.elements = state.n, .gradient_factor = nullptr, .skip = on_device.data()},
                      stream);
                }).ok());
    const auto same = [](const auto& a, const auto& b) {
      return std::equal(a.data(), a.data() + a.size(), b.data());
    };
    EXPECT_EQ(same(state.master, before.master), skip == 1);
    EXPECT_EQ(same(state.gradient, before.gradient), skip == 1);
    EXPECT_EQ(same(state.m, before.m), skip == 1);
    EXPECT_EQ(same(state.v, before.v), skip == 1);
    if (state.working.size() > 0) {
      const bool working_is_first =
          std::equal(state.working.data(), state.working.data() + state.n, before.master.data(),
                     [](T working, float first) { return float(working) == float(T(first)); });
      EXPECT_EQ(working_is_first, skip == 1);
    }
  }
}
TYPED_TEST(AdamWTest, ASkippedUpdateChangesNothing) {
  if constexpr (kOnCuda) {
    ExpectSkippedChangesNothing<TypeParam>();
  } else {
    GTEST_SKIP() << "on a CPU the op above decides";
  }
}

}  // namespace
}  // namespace sluice
