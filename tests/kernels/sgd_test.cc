#include "kernels/api/sgd.h"

#include <cmath>
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

constexpr float kGradientScale = 0.025f, kLearningRate = 0.01f;

// The buffers of one optimizer, master first; T is the type of the working weights.
template <typename T>
struct Sgd {
  using A = Accumulator<T>;
  explicit Sgd(int64_t count)
      : n(count),
        master(Filled(RandomValues(count, 1))),
        gradient(Filled(RandomValues(count, 2, -40, 40))),
        momentum_buffer(Filled(RandomValues(count, 3))),
        working(std::is_same_v<T, A> ? 0 : count, 6) {}
  static PoisonedBuffer<A> Filled(const std::vector<double>& values) {
    PoisonedBuffer<A> buffer(static_cast<int64_t>(values.size()), 3 * sizeof(A));
    const auto floats = Cast<float>(values);  // what float holds, in the reference too
    std::copy(floats.begin(), floats.end(), buffer.data());
    return buffer;
  }

  SgdArgs<T> Args(const std::vector<UpdateSegment>& segments, float momentum) {
    return {.master = master.data(),
            .gradient = gradient.data(),
            .momentum_buffer = momentum_buffer.data(),
            .working = working.size() == 0 ? nullptr : working.data(),
            .segments = segments.data(),
            .segment_count = static_cast<int64_t>(segments.size()),
            .gradient_scale = kGradientScale,
            .learning_rate = kLearningRate,
            .momentum = momentum};
  }
  // skip: what a device has decided.
  void Update(const std::vector<UpdateSegment>& segments, float momentum, int32_t skip = 0) {
    SgdArgs<T> args = Args(segments, momentum);
    if constexpr (std::is_same_v<T, double>) {
      reference::Sgd(args);
    } else if constexpr (kOnCuda) {
      const BackendVector<UpdateSegment> there(segments.begin(), segments.end());
      const auto skip_there = OnBackend(std::vector<int32_t>{skip});
      args.segments = there.data();
      ASSERT_TRUE(RunOnBackend([&](cuda::Stream stream) {
                    return cuda::Sgd<T>(
                        args,
                        {.elements = n, .gradient_factor = nullptr, .skip = skip_there.data()},
                        stream);
                  }).ok());
    } else {
      ASSERT_EQ(skip, 0) << "on a CPU the op above decides";
      ASSERT_TRUE(cpu::Sgd<T>(args).ok());
    }
    for (const auto* buffer : {&master, &gradient, &momentum_buffer}) {
      buffer->ExpectCanariesIntact();
    }
    working.ExpectCanariesIntact();
  }

  int64_t n;
  PoisonedBuffer<A> master, gradient, momentum_buffer;
  PoisonedBuffer<T> working;
};

// |g| <= 40 * 0.025 + 0.5, so |b| <= 2.5: three roundings of up to 2^-24 · 2.5 each, and a product
// of scale and gradient; the weight is rounded once more, and takes 0.01 of b's error.
TEST(SgdFloatTest, MatchesReferenceAndLeavesGapsAlone) {
  OnEachInstructionSet([] {
    for (const int64_t n : {1, 2, 17, 33, 1000, 9007}) {
      for (const float momentum : {0.0f, 0.9f}) {
        SCOPED_TRACE(::testing::Message() << "n " << n << " momentum " << momentum);
        const auto segments = SegmentsOf(n);
        Sgd<float> actual(n);
        const Sgd<float> before(n);
        Sgd<double> expected(n);
        actual.Update(segments, momentum);
        expected.Update(segments, momentum);
        ExpectClose("momentum", actual.momentum_buffer, expected.momentum_buffer,
                    {.absolute = 4 * 2.5 * 0x1p-24, .derivation = "four roundings of at most 2.5"});
        ExpectClose("master", actual.master, expected.master,
                    {.absolute = 2 * 0x1p-24 + kLearningRate * 4 * 2.5 * 0x1p-24,
                     .derivation = "two roundings of the weight, and the buffer's times the rate"});
        for (int64_t i = 0; i < n; ++i) {
          if (IsInSegments(segments, i)) {
            ASSERT_EQ(actual.gradient[i], 0);
          } else {
            ASSERT_EQ(actual.gradient[i], before.gradient[i]) << "gap at " << i;
            ASSERT_EQ(actual.master[i], before.master[i]) << "gap at " << i;
            ASSERT_EQ(actual.momentum_buffer[i], before.momentum_buffer[i]) << "gap at " << i;
          }
        }
      }
    }
  });
}

// lr 0.1, momentum 0.5, decay 0.5, gradients (times scale 2) 2 and then -1, from w = 1:
//   1: g = 2.5, b = 2.5, w = 0.75
//   2: g = -1 + 0.375 = -0.625, b = 0.625, w = 0.6875
TEST(SgdFloatTest, FirstTwoStepsByHand) {
  OnEachInstructionSet([] {
    Sgd<float> state(1);
    state.master[0] = 1;
    state.momentum_buffer[0] = 0;
    const std::vector<UpdateSegment> segments = {{0, 1, 0.5f}};
    const auto update = [&](float gradient) {
      state.gradient[0] = gradient * 2 / kGradientScale;
      SgdArgs<float> args = state.Args(segments, 0.5f);
      args.learning_rate = 0.1f;
      const auto there = OnBackend(segments);
      args.segments = there.data();
      if constexpr (kOnCuda) {
        return RunOnBackend([&](cuda::Stream stream) {
          return cuda::Sgd<float>(
              args, {.elements = 1, .gradient_factor = nullptr, .skip = nullptr}, stream);
        });
      } else {
        return cpu::Sgd<float>(args);
      }
    };
    ASSERT_TRUE(update(1).ok());
    EXPECT_NEAR(state.momentum_buffer[0], 2.5, 1e-6);
    EXPECT_NEAR(state.master[0], 0.75, 1e-6);
    ASSERT_TRUE(update(-0.5f).ok());
    EXPECT_NEAR(state.momentum_buffer[0], 0.625, 1e-6);
    EXPECT_NEAR(state.master[0], 0.6875, 1e-6);
  });
}

// The bf16 state has the master and buffer of the float one, and a rounded copy beside them.
TEST(SgdBf16Test, WorkingWeightsAreTheRoundedMaster) {
  OnEachInstructionSet([] {
    for (const int64_t n : {1, 17, 1000}) {
      const auto segments = SegmentsOf(n);
      Sgd<bf16> actual(n);
      Sgd<float> same(n);
      actual.Update(segments, 0.9f);
      same.Update(segments, 0.9f);
      ExpectSameBits("master", actual.master.values(), same.master.values());
      ExpectSameBits("momentum", actual.momentum_buffer.values(), same.momentum_buffer.values());
      for (int64_t i = 0; i < n; ++i) {
        const uint16_t expected =
            IsInSegments(segments, i) ? bf16(actual.master[i]).bits : uint16_t{0xffff};
        ASSERT_EQ(actual.working[i].bits, expected) << i;
      }
    }
  });
}

template <typename T>
class SgdTest : public ::testing::Test {};
TYPED_TEST_SUITE(SgdTest, ::sluice::testing::StorageTypes);

TYPED_TEST(SgdTest, ThreadsDoNotChangeABit) {
  const int64_t n = 50'021;
  Sgd<TypeParam> first(n);
  first.Update(SegmentsOf(n), 0.9f);
  for (const int threads : {1, 2, 3}) {
    const ScopedComputeThreads scope(threads);
    Sgd<TypeParam> again(n);
    again.Update(SegmentsOf(n), 0.9f);
    ExpectSameBits("master", again.master.values(), first.master.values());
    ExpectSameBits("momentum", again.momentum_buffer.values(), first.momentum_buffer.values());
  }
}

TYPED_TEST(SgdTest, TakesNoSegmentsAndSkipsWhatTheDeviceDecided) {
  const Sgd<TypeParam> before(5000);
  Sgd<TypeParam> state(5000);
  state.Update({}, 0.9f);
  if constexpr (kOnCuda) state.Update(SegmentsOf(5000), 0.9f, /*skip=*/1);
  ExpectSameBits("master", state.master.values(), before.master.values());
  ExpectSameBits("gradient", state.gradient.values(), before.gradient.values());
  ExpectSameBits("momentum", state.momentum_buffer.values(), before.momentum_buffer.values());
}

}  // namespace
}  // namespace sluice
