#include "support/golden_file.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::testing {
namespace {

static_assert(std::endian::native == std::endian::little);
using Json = nlohmann::json;

template <typename T>
std::vector<T> CopyValues(const std::string& bytes, size_t begin, size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data() + begin, count * sizeof(T));
  return values;
}

// One entry of the header; `bytes` is the whole file, whose data begins at `data_begin`. What the
// JSON library throws on a wrong type is caught by ReadGolden.
absl::Status ReadArray(const Json& entry, const std::string& bytes, size_t data_begin,
                       GoldenArray& array) {
  array.shape = entry.at("shape").get<std::vector<int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::vector<size_t>>();
  const auto dtype = entry.at("dtype").get<std::string>();
  const size_t width = dtype == "F32" ? 4 : dtype == "I64" ? 8 : 0;
  if (width == 0) return DataError("unknown dtype in golden", "", dtype);
  for (int64_t extent : array.shape) {
    if (extent < 0) return DataError("negative extent in golden", "", absl::StrCat(extent));
  }
  const auto count = static_cast<size_t>(array.size());
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > bytes.size() - data_begin ||
      offsets[1] - offsets[0] != count * width) {
    return DataError("shape and offsets of golden do not agree", "", entry.dump());
  }
  if (dtype == "F32") {
    array.floats = CopyValues<float>(bytes, data_begin + offsets[0], count);
  } else {
    array.integers = CopyValues<int64_t>(bytes, data_begin + offsets[0], count);
  }
  return absl::OkStatus();
}

absl::StatusOr<GoldenFile> Parse(const std::string& bytes) {
  uint64_t header_length = 0;
  if (bytes.size() < sizeof(header_length)) return DataError("golden is truncated");
  std::memcpy(&header_length, bytes.data(), sizeof(header_length));
  if (header_length > bytes.size() - sizeof(header_length)) {
    return DataError("golden is truncated within its header", "", absl::StrCat(header_length));
  }
  const size_t data_begin = sizeof(header_length) + header_length;
  const Json header =
      Json::parse(bytes.begin() + sizeof(header_length), bytes.begin() + data_begin);
  GoldenFile golden;
  size_t data_end = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      golden.metadata = entry.get<std::map<std::string, std::string>>();
      continue;
    }
    RETURN_IF_ERROR(ReadArray(entry, bytes, data_begin, golden.arrays[name]));
    data_end = std::max(data_end, entry.at("data_offsets").at(1).get<size_t>());
  }
  if (data_begin + data_end != bytes.size()) {
    return DataError("golden has bytes that no array owns", "",
                     absl::StrCat(bytes.size() - data_begin - data_end));
  }
  return golden;
}

}  // namespace

int64_t GoldenArray::size() const {
  int64_t product = 1;
  for (int64_t extent : shape) product *= extent;
  return product;
}

const GoldenArray& GoldenFile::At(const std::string& name) const {
  const auto found = arrays.find(name);
  CHECK(found != arrays.end()) << "no array '" << name << "' in this golden";
  return found->second;
}

absl::StatusOr<GoldenFile> ReadGolden(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return DataError("golden cannot be opened; tests/golden/make_goldens.py makes it", path);
  }
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  try {
    absl::StatusOr<GoldenFile> golden = Parse(bytes);
    if (!golden.ok()) return Annotate(golden.status(), path);
    return golden;
  } catch (const Json::exception& error) {
    return DataError("golden has a bad header", path, error.what());
  }
}

}  // namespace sluice::testing
