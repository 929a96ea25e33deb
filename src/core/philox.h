// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): random
// numbers as a pure function of (key, counter), the same bits on every device. Nothing in Sluice
// draws from a stream: every number is f(seed, purpose, instance; sample, position), so results do
// not depend on ranks, threads or micro-batches.
#pragma once

#include <array>
#include <cstdint>

namespace sluice {

// What a number is for. Values are part of the reproducibility contract: never renumber, only
// append.
enum class RandomPurpose : uint32_t {
  kInitialWeights = 1,
  kDropout = 2,
  kDataOrder = 3,
  kMasking = 4,
  kSampling = 5,
  kGeneratedData = 6,
};

struct PhiloxKey {
  uint32_t k0 = 0;
  uint32_t k1 = 0;
  friend bool operator==(const PhiloxKey&, const PhiloxKey&) = default;
};

// Four words for one (key, counter).
constexpr std::array<uint32_t, 4> Philox(PhiloxKey key, std::array<uint32_t, 4> counter) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key.k0,
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key.k1,
               static_cast<uint32_t>(product0)};
    key.k0 += 0x9E3779B9u;
    key.k1 += 0xBB67AE85u;
  }
  return counter;
}

// Counter for element group `position` of sample `sample`.
constexpr std::array<uint32_t, 4> PhiloxCounter(uint64_t position, uint64_t sample) {
  return {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32),
          static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)};
}

// The key of one use of random numbers. `instance` tells uses of one purpose apart (which dropout,
// which epoch).
constexpr PhiloxKey MakePhiloxKey(uint64_t seed, RandomPurpose purpose, uint32_t instance) {
  const std::array<uint32_t, 4> words = Philox(
      {0x736C7569u, 0x63650001u}, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                                   static_cast<uint32_t>(purpose), instance});
  return {words[0], words[1]};
}

// Uniform in [0, 1) with 32 bits: exact in double.
constexpr double UniformFromWord(uint32_t word) { return word * 0x1p-32; }

}  // namespace sluice
