// The one comparer of the whole tree. It fails unless it can say yes:
//   sizes equal, ranges disjoint, every value finite on both sides, not mostly zero (unless said),
//   |actual - expected| <= bound.
// It prints how much of the tolerance was used, so a bound that is far too wide shows.
//
//   PoisonedBuffer<float> y(rows * columns);             // NaN before the call, canaries after
//   both ends cpu::LayerNormForward({… .y = y.data() …}); y.ExpectCanariesIntact();
//   ExpectClose("y", y.values(), reference_y, Tolerance::ForSum<float>(columns, scale));
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/bf16.h"
#include "core/fp16.h"
#include "gtest/gtest.h"
#include "support/backend.h"

namespace sluice::testing {

// Half the distance from 1 to the next value: the relative error of one rounding.
template <typename T>
constexpr double UnitRoundoff() = delete;
template <>
constexpr double UnitRoundoff<double>() {
  return 0x1p-53;
}
template <>
constexpr double UnitRoundoff<float>() {
  return 0x1p-24;
}
template <>
constexpr double UnitRoundoff<bf16>() {
  return 0x1p-8;
}
template <>
constexpr double UnitRoundoff<fp16>() {
  return 0x1p-11;
}

// Half of the smallest positive value: the absolute error of one rounding near zero, where the
// relative one does not hold.
template <typename T>
constexpr double UnderflowError() {
  return std::is_same_v<T, fp16> ? 0x1p-25 : 0;
}

// |actual - expected| <= absolute + relative * |expected|.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
  bool zeros_expected = false;  // else more than 90 % exact zeros in `actual` fail ("mistrusted")
  std::string derivation;       // one line, printed with the share used

  // Result rounded once to T, of a float sum of `terms` terms whose absolute values sum to at most
  // `magnitude`, each term itself computed with at most `operations` roundings: gamma_n bound,
  // Higham, "Accuracy and Stability", section 3.1.
  template <typename T>
  static Tolerance ForSum(int64_t terms, double magnitude, int operations = 2);

  Tolerance WithZeros() const {
    Tolerance copy = *this;
    copy.zeros_expected = true;
    return copy;
  }
};

struct ComparisonResult {
  bool equal = false;
  double share_used = 0;  // largest |difference| / bound
  double largest_difference = 0;
  int64_t worst_index = -1;
  std::string message;  // why not, with index and both values
};

// What ExpectClose checks, as a value: for the comparer's own tests.
ComparisonResult Compare(std::span<const double> actual, std::span<const double> expected,
                         const Tolerance& tolerance);

// Widening copies, and the overlap check on the original memory.
template <typename A, typename E>
ComparisonResult Compare(std::span<const A> actual, std::span<const E> expected,
                         const Tolerance& tolerance) {
  const auto* actual_begin = reinterpret_cast<const char*>(actual.data());
  const auto* expected_begin = reinterpret_cast<const char*>(expected.data());
  if (!actual.empty() && !expected.empty() &&
      actual_begin < expected_begin + expected.size_bytes() &&
      expected_begin < actual_begin + actual.size_bytes()) {
    return {.message = "actual and expected overlap in memory"};
  }
  std::vector<double> wide_actual(actual.size()), wide_expected(expected.size());
  for (size_t i = 0; i < actual.size(); ++i) wide_actual[i] = static_cast<double>(actual[i]);
  for (size_t i = 0; i < expected.size(); ++i) wide_expected[i] = static_cast<double>(expected[i]);
  return Compare(std::span<const double>(wide_actual), std::span<const double>(wide_expected),
                 tolerance);
}

// Fails the running test unless close; prints "[tolerance] NAME used 12 % of 3e-06 (derivation)"
// once a call.
void Report(const std::string& name, const ComparisonResult& result, const Tolerance& tolerance);

template <typename A, typename E>
void ExpectClose(const std::string& name, const A& actual, const E& expected,
                 const Tolerance& tolerance) {
  using ActualValue = std::remove_cvref_t<decltype(actual[0])>;
  using ExpectedValue = std::remove_cvref_t<decltype(expected[0])>;
  Report(name,
         Compare(std::span<const ActualValue>(actual.data(), actual.size()),
                 std::span<const ExpectedValue>(expected.data(), expected.size()), tolerance),
         tolerance);
}

// Fails unless both have the same bytes (and do not overlap, and no NaN).
template <typename T>
void ExpectSameBits(const std::string& name, std::span<const T> actual,
                    std::span<const T> expected) {
  ASSERT_EQ(actual.size(), expected.size()) << name;
  if (!actual.empty()) {
    ASSERT_NE(actual.data(), expected.data()) << name << ": same memory";
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_FALSE(std::isnan(static_cast<double>(actual[i]))) << name << "[" << i << "]";
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], sizeof(T)), 0)
        << name << "[" << i << "]: " << static_cast<double>(actual[i]) << " vs. "
        << static_cast<double>(expected[i]);
  }
}

// A buffer for outputs: every byte 0xFF (NaN) before the call under test, 64 canary bytes at both
// ends, and optionally `misalignment` bytes away from a 64-byte boundary (a multiple of sizeof(T)).
// In memory that the backend's kernels can use; on the emulator they may not read canaries either.
template <typename T>
class PoisonedBuffer {
 public:
  explicit PoisonedBuffer(int64_t count, int64_t misalignment = 0)
      : count_(count), storage_(count * sizeof(T) + 3 * kCanaryBytes + misalignment, 0xFF) {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    begin_ = kCanaryBytes + (kCanaryBytes - address % kCanaryBytes) % kCanaryBytes + misalignment;
    for (size_t i = 0; i < storage_.size(); ++i) {
      if (i < begin_ || i >= begin_ + count * sizeof(T)) storage_[i] = 0xA5;
    }
    NarrowOnBackend(data(), count * sizeof(T));
  }
  PoisonedBuffer(int64_t count, int64_t misalignment, T value)
      : PoisonedBuffer(count, misalignment) {
    for (int64_t i = 0; i < count; ++i) data()[i] = value;
  }
  T* data() { return reinterpret_cast<T*>(storage_.data() + begin_); }
  const T* data() const { return reinterpret_cast<const T*>(storage_.data() + begin_); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  std::span<const T> values() const { return {data(), static_cast<size_t>(count_)}; }
  bool CanariesIntact() const {
    for (size_t i = 0; i < storage_.size(); ++i) {
      if ((i < begin_ || i >= begin_ + count_ * sizeof(T)) && storage_[i] != 0xA5) return false;
    }
    return true;
  }
  void ExpectCanariesIntact() const {
    EXPECT_TRUE(CanariesIntact()) << "wrote outside of its buffer";
  }

 private:
  static constexpr size_t kCanaryBytes = 64;
  int64_t count_;
  BackendVector<uint8_t> storage_;
  size_t begin_;
};

template <typename T>
Tolerance Tolerance::ForSum(int64_t terms, double magnitude, int operations) {
  const double float_roundoff =
      std::is_same_v<T, double> ? UnitRoundoff<double>() : UnitRoundoff<float>();
  const double n = static_cast<double>(terms + operations);
  const double gamma = n * float_roundoff / (1 - n * float_roundoff);
  return {.absolute = gamma * magnitude + std::numeric_limits<float>::min() + UnderflowError<T>(),
          .relative = UnitRoundoff<T>(),
          .derivation = "gamma(" + std::to_string(terms + operations) + ") * " +
                        std::to_string(magnitude) + " + one rounding to the result's type"};
}

// A test folder that is removed at the end, also when the test fails.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Uniform numbers in [low, high) from a seed that is printed when the test fails (SCOPED_TRACE it
// yourself in sweeps).
std::vector<double> RandomValues(int64_t count, uint64_t seed, double low = -1, double high = 1);

// The values as storage type T, and back: so that the reference sees exactly what the fast kernel
// sees.
template <typename T>
std::vector<T> Cast(const std::vector<double>& values) {
  std::vector<T> cast(values.size());
  for (size_t i = 0; i < values.size(); ++i) cast[i] = T(static_cast<float>(values[i]));
  return cast;
}
template <>
inline std::vector<double> Cast<double>(const std::vector<double>& values) {
  return values;
}
template <typename T, typename Allocator>
std::vector<double> Widen(const std::vector<T, Allocator>& values) {
  std::vector<double> wide(values.size());
  for (size_t i = 0; i < values.size(); ++i) wide[i] = static_cast<double>(values[i]);
  return wide;
}

}  // namespace sluice::testing
