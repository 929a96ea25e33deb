#include "support/compare.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "core/philox.h"

namespace sluice::testing {

ComparisonResult Compare(std::span<const double> actual, std::span<const double> expected,
                         const Tolerance& tolerance) {
  ComparisonResult result;
  if (actual.size() != expected.size()) {
    result.message = absl::StrFormat("sizes differ: %d vs. %d", actual.size(), expected.size());
    return result;
  }
  int64_t zeros = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(actual[i]) || !std::isfinite(expected[i])) {
      result.worst_index = static_cast<int64_t>(i);
      result.message =
          absl::StrFormat("not finite at %d: actual %g, expected %g", i, actual[i], expected[i]);
      return result;
    }
    zeros += actual[i] == 0;
    const double difference = std::abs(actual[i] - expected[i]);
    const double bound = tolerance.absolute + tolerance.relative * std::abs(expected[i]);
    if (!(bound >= 0) || !std::isfinite(bound)) {
      result.worst_index = static_cast<int64_t>(i);
      result.message = absl::StrFormat("the bound at %d is no bound: %g", i, bound);
      return result;
    }
    const double share = difference == 0 ? 0 : difference / bound;  // bound 0 gives infinity
    result.largest_difference = std::max(result.largest_difference, difference);
    if (!(share <= result.share_used) || result.worst_index < 0) {
      result.share_used = share;
      result.worst_index = static_cast<int64_t>(i);
    }
  }
  if (!(result.share_used <= 1)) {
    const auto i = static_cast<size_t>(result.worst_index);
    result.message = absl::StrFormat(
        "differs at %d: actual %.9g, expected %.9g, difference %.3g is %.3g x the bound", i,
        actual[i], expected[i], std::abs(actual[i] - expected[i]), result.share_used);
    return result;
  }
  if (!tolerance.zeros_expected && actual.size() >= 10 &&
      zeros * 10 > static_cast<int64_t>(actual.size()) * 9) {
    result.message =
        absl::StrFormat("mistrusted: %d of %d values are exactly zero", zeros, actual.size());
    return result;
  }
  result.equal = true;
  return result;
}

void Report(const std::string& name, const ComparisonResult& result, const Tolerance& tolerance) {
  if (!result.equal) {
    ADD_FAILURE() << name << ": " << result.message << " [" << tolerance.derivation << "]";
    return;
  }
  std::printf("[tolerance] %s used %.2g %% of %.2g + %.2g |x| (%s)\n", name.c_str(),
              100 * result.share_used, tolerance.absolute, tolerance.relative,
              tolerance.derivation.c_str());
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sluice_test_XXXXXX").string();
  path_ = mkdtemp(pattern.data()) != nullptr ? pattern : "";
  EXPECT_FALSE(path_.empty()) << "no temporary folder";
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::vector<double> RandomValues(int64_t count, uint64_t seed, double low, double high) {
  const PhiloxKey key = MakePhiloxKey(seed, RandomPurpose::kSampling, 0);
  std::vector<double> values(count);
  for (int64_t i = 0; i < count; ++i) {
    const auto words = Philox(key, PhiloxCounter(i, 0));
    values[i] = low + (high - low) * UniformFromWord(words[0]);
  }
  return values;
}

}  // namespace sluice::testing
