#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "checkpoint/safetensors.h"
#include "core/bf16.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// IEEE binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction.
float FloatOfHalf(uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  float magnitude = 0;
  if (exponent == 31) {
    magnitude = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return half & 0x8000 ? -magnitude : magnitude;
}

// Widens 16-bit values that lie in the second half of `values`, from the first on: each is read
// before a float is written over it.
template <typename Convert>
void WidenInPlace(std::span<float> values, Convert convert) {
  const char* narrow = reinterpret_cast<const char*>(values.data()) + values.size() * 2;
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, narrow + 2 * i, sizeof(bits));
    values[i] = convert(bits);
  }
}

}  // namespace

SafetensorsReader::SafetensorsReader(std::string path, SafetensorsHeader header)
    : path_(std::move(path)), header_(std::move(header)) {
  for (size_t i = 0; i < header_.entries.size(); ++i) index_[header_.entries[i].name] = i;
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::Open(const std::string& path) {
  ASSIGN_OR_RETURN(SafetensorsHeader header, ReadSafetensorsHeader(path));
  return SafetensorsReader(path, std::move(header));
}

const SafetensorsEntry* SafetensorsReader::Find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

absl::Status SafetensorsReader::Error(absl::string_view what, const SafetensorsEntry& entry,
                                      absl::string_view values) const {
  return CheckpointError(what, path_, absl::StrCat("tensor ", entry.name, ": ", values));
}

absl::StatusOr<const SafetensorsEntry*> SafetensorsReader::Expect(const std::string& name,
                                                                  size_t elements) const {
  const SafetensorsEntry* entry = Find(name);
  if (entry == nullptr) return CheckpointError("missing tensor", path_, name);
  if (static_cast<size_t>(entry->elements()) == elements) return entry;
  return Error("tensor has another size", *entry,
               absl::StrCat(entry->ShapeText(), ", expected ", elements, " elements"));
}

absl::Status SafetensorsReader::ReadBytes(const SafetensorsEntry& entry, void* bytes) const {
  if (entry.begin == entry.end) return absl::OkStatus();
  std::ifstream in(path_, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(header_.data_begin + entry.begin));
  in.read(static_cast<char*>(bytes), static_cast<std::streamsize>(entry.end - entry.begin));
  if (in) return absl::OkStatus();
  return Error("cannot read tensor", entry, std::strerror(errno));
}

absl::Status SafetensorsReader::Read(const std::string& name, std::span<float> values) const {
  ASSIGN_OR_RETURN(const SafetensorsEntry* entry, Expect(name, values.size()));
  char* const second_half = reinterpret_cast<char*>(values.data()) + values.size() * 2;
  switch (entry->type) {
    case SafetensorsType::kFloat32:
      return ReadBytes(*entry, values.data());
    case SafetensorsType::kFloat16:
      RETURN_IF_ERROR(ReadBytes(*entry, second_half));
      WidenInPlace(values, FloatOfHalf);
      return absl::OkStatus();
    case SafetensorsType::kBFloat16:
      RETURN_IF_ERROR(ReadBytes(*entry, second_half));
      WidenInPlace(values,
                   [](uint16_t bits) { return static_cast<float>(std::bit_cast<bf16>(bits)); });
      return absl::OkStatus();
    case SafetensorsType::kInt64:
    case SafetensorsType::kOther:
      break;
  }
  return Error("tensor is not F32, F16 or BF16", *entry, entry->type_name);
}

absl::Status SafetensorsReader::Read(const std::string& name, std::span<int64_t> values) const {
  ASSIGN_OR_RETURN(const SafetensorsEntry* entry, Expect(name, values.size()));
  if (entry->type == SafetensorsType::kInt64) return ReadBytes(*entry, values.data());
  return Error("tensor is not I64", *entry, entry->type_name);
}

}  // namespace sluice
