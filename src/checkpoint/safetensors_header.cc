#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "checkpoint/json_file.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/status.h"

namespace sluice {
namespace {

static_assert(std::endian::native == std::endian::little);  // the format's byte order

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // bytes; the Python package's limit
constexpr char kMetadataKey[] = "__metadata__";

struct TypeFacts {
  const char* name;
  int64_t bytes;  // an element
  SafetensorsType type;
};
constexpr TypeFacts kTypes[] = {
    {"F32", 4, SafetensorsType::kFloat32},   {"F16", 2, SafetensorsType::kFloat16},
    {"BF16", 2, SafetensorsType::kBFloat16}, {"I64", 8, SafetensorsType::kInt64},
    {"F64", 8, SafetensorsType::kOther},     {"U64", 8, SafetensorsType::kOther},
    {"I32", 4, SafetensorsType::kOther},     {"U32", 4, SafetensorsType::kOther},
    {"I16", 2, SafetensorsType::kOther},     {"U16", 2, SafetensorsType::kOther},
    {"I8", 1, SafetensorsType::kOther},      {"U8", 1, SafetensorsType::kOther},
    {"BOOL", 1, SafetensorsType::kOther},    {"F8_E4M3", 1, SafetensorsType::kOther},
    {"F8_E5M2", 1, SafetensorsType::kOther}};

const TypeFacts* FindType(const std::string& name) {
  for (const TypeFacts& facts : kTypes) {
    if (name == facts.name) return &facts;
  }
  return nullptr;
}

absl::Status TensorError(absl::string_view what, const std::string& path, const std::string& name,
                         absl::string_view values) {
  return CheckpointError(what, path, absl::StrCat("tensor ", name, ": ", values));
}

// What a value of the header is, shortened, for a message.
std::string Show(const Json& value) {
  constexpr size_t kLongest = 60;
  const std::string text = JsonText(value);
  return text.size() <= kLongest ? text : absl::StrCat(text.substr(0, kLongest), "…");
}

absl::Status ReadDims(const Json& shape, const std::string& path, SafetensorsEntry& entry) {
  if (!shape.is_array()) return TensorError("shape is not a list", path, entry.name, Show(shape));
  int64_t elements = 1;
  for (const Json& dim : shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > INT64_MAX) {
      return TensorError("shape has what is not a size", path, entry.name, Show(shape));
    }
    const auto size = dim.get<int64_t>();
    if (size != 0 && elements > INT64_MAX / 8 / size) {
      return TensorError("shape is too large", path, entry.name, Show(shape));
    }
    elements *= size;
    entry.dims.push_back(size);
  }
  return absl::OkStatus();
}

absl::Status ReadOffsets(const Json& offsets, const std::string& path, SafetensorsEntry& entry) {
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return TensorError("data_offsets is not [begin, end]", path, entry.name, Show(offsets));
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.end >= entry.begin) return absl::OkStatus();
  return TensorError("data_offsets end before they begin", path, entry.name, Show(offsets));
}

absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& name, const Json& value,
                                           const std::string& path) {
  SafetensorsEntry entry;
  entry.name = name;
  if (!value.is_object()) return TensorError("entry is not an object", path, name, Show(value));
  for (const auto& [key, ignored] : value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return TensorError("entry has an unknown key", path, name, key);
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) return TensorError("entry lacks a key", path, name, key);
  }
  const Json& dtype = value["dtype"];
  const TypeFacts* facts = dtype.is_string() ? FindType(dtype.get<std::string>()) : nullptr;
  if (facts == nullptr) return TensorError("unknown dtype", path, name, Show(dtype));
  entry.type = facts->type;
  entry.type_name = facts->name;
  RETURN_IF_ERROR(ReadDims(value["shape"], path, entry));
  RETURN_IF_ERROR(ReadOffsets(value["data_offsets"], path, entry));
  const auto expected = static_cast<uint64_t>(entry.elements() * facts->bytes);
  if (entry.end - entry.begin == expected) return entry;
  return TensorError("data_offsets do not fit shape and dtype", path, name,
                     absl::StrCat(entry.end - entry.begin, " bytes, expected ", expected, " for ",
                                  facts->name, " ", entry.ShapeText()));
}

absl::Status ReadMetadata(const Json& value, const std::string& path, SafetensorsHeader& header) {
  if (!value.is_object())
    return CheckpointError("__metadata__ is not an object", path, Show(value));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return CheckpointError("a value of __metadata__ is not a text", path,
                             absl::StrCat(key, ": ", Show(text)));
    }
    header.metadata[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

// The tensors, in the order of their bytes, fill the `bytes` after the header exactly.
absl::Status CheckLayout(const std::string& path, uint64_t bytes, SafetensorsHeader& header) {
  std::ranges::sort(header.entries, [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin
           : a.end != b.end   ? a.end < b.end
                              : a.name < b.name;
  });
  uint64_t filled = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != filled) {
      return TensorError(entry.begin < filled ? "tensors overlap" : "gap before a tensor", path,
                         entry.name,
                         absl::StrCat("begins at byte ", entry.begin, ", expected ", filled));
    }
    filled = entry.end;
  }
  if (filled == bytes) return absl::OkStatus();
  return CheckpointError(
      filled > bytes ? "file is truncated" : "file is longer than its tensors", path,
      absl::StrCat("tensors have ", filled, " bytes, the file has ", bytes, " after its header"));
}

absl::StatusOr<std::string> ReadHeaderText(const std::string& path, uint64_t file_bytes) {
  std::ifstream in(path, std::ios::binary);
  uint64_t length = 0;
  if (!in) return CheckpointError("cannot open file", path, std::strerror(errno));
  if (file_bytes < kLengthBytes || !in.read(reinterpret_cast<char*>(&length), kLengthBytes)) {
    return CheckpointError("is too short to be a safetensors file", path,
                           absl::StrCat(file_bytes, " bytes"));
  }
  if (length > kLongestHeader || length > file_bytes - kLengthBytes) {
    return CheckpointError("is no safetensors file: impossible header length", path,
                           absl::StrCat(length, " bytes of header, ", file_bytes, " of file"));
  }
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length))) {
    return CheckpointError("cannot read file", path, std::strerror(errno));
  }
  if (text.empty() || text[0] != '{') {
    return CheckpointError("header does not begin with {", path);
  }
  return text;
}

}  // namespace

int64_t SafetensorsEntry::elements() const {
  int64_t product = 1;
  for (int64_t dim : dims) product *= dim;
  return product;
}

std::string SafetensorsEntry::ShapeText() const {
  return absl::StrCat("(", absl::StrJoin(dims, ", "), ")");
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return CheckpointError("no such file", path, error ? error.message() : "not a regular file");
  }
  const uint64_t file_bytes = std::filesystem::file_size(path, error);
  if (error) return CheckpointError("cannot read file", path, error.message());
  ASSIGN_OR_RETURN(const std::string text, ReadHeaderText(path, file_bytes));
  ASSIGN_OR_RETURN(const Json root, ParseJsonObject(text, absl::StrCat(path, ", header")));
  SafetensorsHeader header;
  header.data_begin = kLengthBytes + text.size();
  for (const auto& [name, value] : root.items()) {
    if (name == kMetadataKey) {
      RETURN_IF_ERROR(ReadMetadata(value, path, header));
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ReadEntry(name, value, path));
    header.entries.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(CheckLayout(path, file_bytes - header.data_begin, header));
  return header;
}

}  // namespace sluice
