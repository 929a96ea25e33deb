// The safetensors format: 8 bytes of little-endian header length, a JSON header, then the tensors'
// bytes without gaps. What Hugging Face's programs read and write; docs/formats/huggingface.md.
//
//   RETURN_IF_ERROR(WriteSafetensors(path, {SafetensorsTensor::Of("w", {2, 3}, values)}, {}));
//   ASSIGN_OR_RETURN(const SafetensorsReader file, SafetensorsReader::Open(path));
//   RETURN_IF_ERROR(file.Read("w", std::span<float>(values)));
//
// Errors are CheckpointErrors that name the file, the tensor and the values.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

// kOther: a type of the format that is listed and checked, but cannot be read here (F64, U8, …).
enum class SafetensorsType { kFloat32, kFloat16, kBFloat16, kInt64, kOther };

struct SafetensorsEntry {
  std::string name;
  SafetensorsType type = SafetensorsType::kOther;
  std::string type_name;      // as the file has it: "BF16"
  std::vector<int64_t> dims;  // none: one element
  uint64_t begin = 0;         // bytes from the end of the header
  uint64_t end = 0;
  int64_t elements() const;
  std::string ShapeText() const;  // "(768, 12)"
};

struct SafetensorsHeader {
  uint64_t data_begin = 0;                // bytes from the start of the file
  std::vector<SafetensorsEntry> entries;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

// Reads and checks a file's header against the file's size: length, JSON, repeated names, types,
// shapes, sizes, and that the tensors fill the rest of the file without gap or overlap.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

class SafetensorsReader {
 public:
  static absl::StatusOr<SafetensorsReader> Open(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const SafetensorsEntry* Find(const std::string& name) const;  // null: no such tensor

  // The whole tensor; the number of elements must be the file's. F32 as it is, F16 and BF16
  // widened.
  absl::Status Read(const std::string& name, std::span<float> values) const;
  absl::Status Read(const std::string& name, std::span<int64_t> values) const;  // I64

 private:
  SafetensorsReader(std::string path, SafetensorsHeader header);
  absl::StatusOr<const SafetensorsEntry*> Expect(const std::string& name, size_t elements) const;
  absl::Status ReadBytes(const SafetensorsEntry& entry, void* bytes) const;
  absl::Status Error(absl::string_view what, const SafetensorsEntry& entry,
                     absl::string_view values) const;

  std::string path_;
  SafetensorsHeader header_;
  std::map<std::string, size_t> index_;  // name → position in entries
};

// A tensor to write; `bytes` are little-endian elements of `type`, and stay the caller's.
struct SafetensorsTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::kFloat32;
  std::vector<int64_t> dims;
  absl::string_view bytes;

  static SafetensorsTensor Of(const std::string& name, const std::vector<int64_t>& dims,
                              std::span<const float> values);
  static SafetensorsTensor Of(const std::string& name, const std::vector<int64_t>& dims,
                              std::span<const int64_t> values);
};

// Writes the file durably. Wide types first, then by name, as the Python package orders them, so
// that every tensor is aligned to its elements; the same tensors give the same bytes. Names must
// differ.
absl::Status WriteSafetensors(const std::string& path, std::vector<SafetensorsTensor> tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace sluice
