// The bytes of a text file, of standard input ("-"), or of what an xz or gzip archive holds.
// Archives are known by their first bytes, whatever their name; a name that ends in .xz or .gz
// promises one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace sluice {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `buffer` with 1 … capacity bytes; 0 only at the end. DataError with the file's name for a
  // failed read and a damaged or truncated archive.
  virtual absl::StatusOr<size_t> Read(char* buffer, size_t capacity) = 0;
};

// DataError for a missing file, a folder, and an archive's name on something else.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path);

}  // namespace sluice
