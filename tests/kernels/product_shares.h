// How much of their tolerances several products used, printed as one line.
#pragma once

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice::testing {

class ProductShares {
 public:
  explicit ProductShares(const char* name) : name_(name) {}
  ~ProductShares() {
    std::printf("[tolerance] %s: %d products used %.1f %% of gamma_n * sum of |terms|\n", name_,
                products_, 100 * largest_);
  }
  ProductShares(const ProductShares&) = delete;
  ProductShares& operator=(const ProductShares&) = delete;

  // Fails the running test unless close.
  void Add(const std::string& what, const std::vector<float>& actual,
           const std::vector<double>& expected, const Tolerance& tolerance) {
    const ComparisonResult result =
        Compare(std::span<const float>(actual), std::span<const double>(expected), tolerance);
    EXPECT_TRUE(result.equal) << what << ": " << result.message;
    largest_ = std::max(largest_, result.share_used);
    ++products_;
  }

 private:
  const char* name_;
  int products_ = 0;
  double largest_ = 0;
};

}  // namespace sluice::testing
