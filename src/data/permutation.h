// A random-looking order of n things as a function: no array, any element in constant time, the
// same on every machine. A Feistel network over the smallest power of two that holds n, with
// Philox as its round function; values that fall outside of [0, n) walk on along their cycle
// (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). At most 2 walks are
// expected.
//
//   const Permutation order(seed, epoch, sequences);
//   const int64_t sequence = order(i);   // a bijection of [0, sequences)
#pragma once

#include <bit>
#include <cstdint>

#include "core/check.h"
#include "core/philox.h"

namespace sluice {

class Permutation {
 public:
  // n >= 1, 0 <= epoch < 2^32.
  Permutation(uint64_t seed, int64_t epoch, int64_t n)
      : n_(static_cast<uint64_t>(n)),
        left_bits_(std::bit_width(n_ - 1) / 2),
        right_bits_(std::bit_width(n_ - 1) - left_bits_),
        key_(MakePhiloxKey(seed, RandomPurpose::kDataOrder, static_cast<uint32_t>(epoch))) {
    CHECK_GE(n, 1);
    CHECK(epoch >= 0 && epoch <= UINT32_MAX) << "epoch " << epoch;
  }

  int64_t size() const { return static_cast<int64_t>(n_); }

  // 0 <= index < n.
  int64_t operator()(int64_t index) const {
    DCHECK(index >= 0 && index < size());
    uint64_t value = Network(static_cast<uint64_t>(index));
    while (value >= n_) value = Network(value);
    return static_cast<int64_t>(value);
  }

 private:
  // Even. 4 make a strong pseudo-random permutation of large domains (Luby and Rackoff), but the
  // orders of 5 to 7 things come up equally often only from about 20 on.
  static constexpr uint32_t kRounds = 24;

  uint64_t Network(uint64_t value) const {
    uint64_t left = value >> right_bits_;
    uint64_t right = value & Mask(right_bits_);
    for (uint32_t round = 0; round < kRounds; round += 2) {
      right ^= RoundFunction(left, round) & Mask(right_bits_);
      left ^= RoundFunction(right, round + 1) & Mask(left_bits_);
    }
    return left << right_bits_ | right;
  }
  uint64_t RoundFunction(uint64_t half, uint32_t round) const {
    const auto words = Philox(key_, {static_cast<uint32_t>(half), static_cast<uint32_t>(half >> 32),
                                     round, static_cast<uint32_t>(left_bits_ + right_bits_)});
    return uint64_t{words[1]} << 32 | words[0];
  }
  static uint64_t Mask(int bits) { return (uint64_t{1} << bits) - 1; }

  uint64_t n_;
  int left_bits_;
  int right_bits_;
  PhiloxKey key_;
};

}  // namespace sluice
