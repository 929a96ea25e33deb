// Hashes that tie files together: XXH3-64 against damage (fast), SHA-256 for identity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// XXH3 64-bit, seed 0, fed in pieces.
//
//   Xxh3Hasher hasher;
//   hasher.Update(tokens.data(), tokens.size() * sizeof(uint16_t));
//   header.xxh3 = hasher.Digest();
class Xxh3Hasher {
 public:
  Xxh3Hasher();
  ~Xxh3Hasher();
  Xxh3Hasher(const Xxh3Hasher&) = delete;
  Xxh3Hasher& operator=(const Xxh3Hasher&) = delete;

  void Update(const void* data, size_t bytes);
  uint64_t Digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 16 hex digits, and back; false when `text` is anything else.
std::string Xxh3Text(uint64_t hash);
bool ParseXxh3(absl::string_view text, uint64_t* hash);

// 64 hex digits.
std::string Sha256Text(absl::string_view bytes);

}  // namespace sluice
