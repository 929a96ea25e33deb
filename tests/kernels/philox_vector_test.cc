// The vector Philox against the scalar one, on every instruction set that this processor has.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/philox_vector_test.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format off: the vector header comes after highway.h
#include "kernels/cpu/philox_vector.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace sluice {
namespace HWY_NAMESPACE {

// words[4·i + w]: word w of counter position + i, for `count` counters (a multiple of 16).
void PhiloxMany(PhiloxKey key, uint64_t position, uint64_t sample, int64_t count, uint32_t* words) {
  const hn::CappedTag<uint32_t, 16> du;
  const auto lanes = static_cast<int64_t>(hn::Lanes(du));
  HWY_ALIGN uint32_t lane_words[16];
  for (int64_t i = 0; i < count; i += lanes) {
    const auto vectors = PhiloxLanes(du, key, position + static_cast<uint64_t>(i), sample);
    for (int64_t w = 0; w < 4; ++w) {
      hn::Store(vectors.word[w], du, lane_words);
      for (int64_t lane = 0; lane < lanes; ++lane) words[4 * (i + lane) + w] = lane_words[lane];
    }
  }
}

// factors (rows, columns): 0 or the scale.
void DropoutMatrix(const Dropout& dropout, int64_t sample, int64_t rows, int64_t columns,
                   float* factors) {
  const hn::CappedTag<float, 16> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(df));
  const DropoutStream stream = MakeDropoutStream(dropout, sample, columns);
  HWY_ALIGN float lane_factors[16];
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t block = 0; block < stream.blocks_per_row; ++block) {
      ForEachDropoutMask(df, stream, row, block, [&](int64_t offset, auto keep) HWY_ATTR {
        hn::Store(hn::IfThenElseZero(keep, hn::Set(df, stream.scale)), df, lane_factors);
        for (int64_t lane = 0; lane < lanes; ++lane) {
          const int64_t column = block * 128 + offset + lane;
          if (column < columns) factors[row * columns + column] = lane_factors[lane];
        }
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sluice
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "support/compare.h"

namespace sluice {

HWY_EXPORT(PhiloxMany);
HWY_EXPORT(DropoutMatrix);

namespace {

using ::sluice::testing::ExpectSameBits;
using ::sluice::testing::PoisonedBuffer;

// Runs `body` once for each target that was compiled and that this processor supports.
template <typename Body>
void ForEachTarget(const Body& body) {
  const auto supported = hwy::SupportedTargets();
  int targets = 0;
  for (const auto target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    std::printf("target %s\n", hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    body();
    ++targets;
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(supported);
  EXPECT_GE(targets, 1);
}

TEST(PhiloxVectorTest, IsTheScalarFunction) {
  const PhiloxKey key = MakePhiloxKey(7, RandomPurpose::kDropout, 3);
  // Positions with a full low word (no carry may be lost) and with high words in use.
  const uint64_t positions[] = {0, 16, 0xfffffff0u, 0x1'0000'0000u, 0xfedc'ba98'7654'3210u};
  const uint64_t samples[] = {0, 1, 0xffffffffu, 0x1234'5678'9abc'def0u};
  ForEachTarget([&] {
    for (const uint64_t position : positions) {
      for (const uint64_t sample : samples) {
        std::vector<uint32_t> words(4 * 16, 0xA5A5A5A5u);
        HWY_DYNAMIC_DISPATCH(PhiloxMany)(key, position, sample, 16, words.data());
        for (uint64_t i = 0; i < 16; ++i) {
          const auto expected = Philox(key, PhiloxCounter(position + i, sample));
          for (uint64_t w = 0; w < 4; ++w) {
            ASSERT_EQ(words[4 * i + w], expected[w]) << position << "+" << i << " word " << w;
          }
        }
      }
    }
  });
}

TEST(PhiloxVectorTest, DropoutMasksFollowTheDefinition) {
  ForEachTarget([&] {
    for (const int64_t columns : {1, 15, 16, 17, 127, 128, 129, 300}) {
      for (const float probability : {0.1f, 0.5f, 0.99f}) {
        const Dropout dropout = {.probability = probability,
                                 .key = MakePhiloxKey(11, RandomPurpose::kDropout, 5)};
        const int64_t rows = 7, sample = 0x1'2345'6789;
        PoisonedBuffer<float> factors(rows * columns);
        HWY_DYNAMIC_DISPATCH(DropoutMatrix)(dropout, sample, rows, columns, factors.data());
        factors.ExpectCanariesIntact();
        std::vector<float> expected(rows * columns);
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t column = 0; column < columns; ++column) {
            expected[row * columns + column] = DropoutFactor(dropout, sample, row, column, columns);
          }
        }
        ExpectSameBits<float>("factors", factors.values(), expected);
      }
    }
  });
}

}  // namespace
}  // namespace sluice
#endif  // HWY_ONCE
