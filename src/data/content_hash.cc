#include "data/content_hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "core/check.h"

namespace sluice {

struct Xxh3Hasher::State {
  XXH3_state_t* xxh3 = XXH3_createState();
  ~State() { XXH3_freeState(xxh3); }
};

Xxh3Hasher::Xxh3Hasher() : state_(std::make_unique<State>()) {
  CHECK(state_->xxh3 != nullptr);
  XXH3_64bits_reset(state_->xxh3);
}
Xxh3Hasher::~Xxh3Hasher() = default;

void Xxh3Hasher::Update(const void* data, size_t bytes) {
  XXH3_64bits_update(state_->xxh3, data, bytes);
}
uint64_t Xxh3Hasher::Digest() const { return XXH3_64bits_digest(state_->xxh3); }

std::string Xxh3Text(uint64_t hash) { return absl::StrFormat("%016x", hash); }

bool ParseXxh3(absl::string_view text, uint64_t* hash) {
  if (text.size() != 16) return false;
  for (char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
  }
  return absl::SimpleHexAtoi(text, hash);
}

std::string Sha256Text(absl::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr), 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

}  // namespace sluice
