// Property tests: what must hold for every configuration is asked of random ones. A case is a
// function of its seed alone, so the seed that a failure prints brings it back:
//
//   SLUICE_PROPERTY_SEED=17 SLUICE_PROPERTY_CASES=1 build/ci/tests/property.…_test
//
//   ForEachCase(10, [](Draw& draw) {
//     const RunConfig config = DrawModel(draw, …);
//     SCOPED_TRACE(DumpRunConfig(config));
//     …
//   });
#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/philox.h"
#include "gtest/gtest.h"

namespace sluice::testing {

// The random choices of one case, in the order in which they are asked for.
class Draw {
 public:
  explicit Draw(uint64_t seed) : key_(MakePhiloxKey(seed, RandomPurpose::kSampling, 77)) {}

  uint32_t Word() { return Philox(key_, PhiloxCounter(next_++, 0))[0]; }
  // In [low, high].
  int64_t Integer(int64_t low, int64_t high) { return low + Word() % (high - low + 1); }
  // In [low, high).
  double Real(double low, double high) { return low + (high - low) * UniformFromWord(Word()); }
  bool Coin() { return Word() % 2 == 1; }
  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[Word() % values.size()];
  }

 private:
  PhiloxKey key_;
  uint64_t next_ = 0;
};

// A number from the environment; `otherwise` when it is not set.
inline uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  uint64_t value = 0;
  EXPECT_TRUE(absl::SimpleAtoi(text, &value)) << name << " is no number: " << text;
  return value;
}

// Checks SLUICE_PROPERTY_CASES cases, or `cases`, of the seeds from SLUICE_PROPERTY_SEED, or 1, on.
// Stops at the first that fails: the others of a broken property say nothing new.
inline void ForEachCase(int64_t cases, absl::FunctionRef<void(Draw& draw)> check) {
  const uint64_t first = NumberFromEnvironment("SLUICE_PROPERTY_SEED", 1);
  const uint64_t count =
      NumberFromEnvironment("SLUICE_PROPERTY_CASES", static_cast<uint64_t>(cases));
  ASSERT_GT(count, 0u) << "no case, nothing tested";
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(
        absl::StrCat("replay with SLUICE_PROPERTY_SEED=", seed, " SLUICE_PROPERTY_CASES=1"));
    Draw draw(seed);
    check(draw);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace sluice::testing
