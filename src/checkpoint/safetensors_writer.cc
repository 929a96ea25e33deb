#include <algorithm>

#include "checkpoint/durable_file.h"
#include "checkpoint/json_file.h"
#include "checkpoint/safetensors.h"
#include "core/check.h"

namespace sluice {
namespace {

struct WrittenType {
  const char* name;
  size_t bytes;  // an element
};

WrittenType FactsOf(SafetensorsType type) {
  switch (type) {
    case SafetensorsType::kFloat32:
      return {"F32", 4};
    case SafetensorsType::kFloat16:
      return {"F16", 2};
    case SafetensorsType::kBFloat16:
      return {"BF16", 2};
    case SafetensorsType::kInt64:
      return {"I64", 8};
    case SafetensorsType::kOther:
      break;
  }
  CHECK(false) << "not a type that can be written";
  return {};
}

template <typename T>
absl::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

std::string HeaderText(const std::vector<SafetensorsTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t begin = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    const WrittenType facts = FactsOf(tensor.type);
    size_t elements = 1;
    for (int64_t dim : tensor.dims) elements *= static_cast<size_t>(dim);
    CHECK_EQ(tensor.bytes.size(), elements * facts.bytes) << tensor.name;
    CHECK(!header.contains(tensor.name)) << tensor.name << " twice";
    header[tensor.name] = {{"dtype", facts.name},
                           {"shape", tensor.dims},
                           {"data_offsets", {begin, begin + tensor.bytes.size()}}};
    begin += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begin on a multiple of 8
  return text;
}

}  // namespace

SafetensorsTensor SafetensorsTensor::Of(const std::string& name, const std::vector<int64_t>& dims,
                                        std::span<const float> values) {
  return {name, SafetensorsType::kFloat32, dims, BytesOf(values)};
}

SafetensorsTensor SafetensorsTensor::Of(const std::string& name, const std::vector<int64_t>& dims,
                                        std::span<const int64_t> values) {
  return {name, SafetensorsType::kInt64, dims, BytesOf(values)};
}

absl::Status WriteSafetensors(const std::string& path, std::vector<SafetensorsTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::ranges::sort(tensors, [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    const size_t wide_a = FactsOf(a.type).bytes, wide_b = FactsOf(b.type).bytes;
    return wide_a != wide_b ? wide_a > wide_b : a.name < b.name;
  });
  const std::string header = HeaderText(tensors, metadata);
  const uint64_t length = header.size();
  std::vector<absl::string_view> pieces = {
      absl::string_view(reinterpret_cast<const char*>(&length), sizeof(length)), header};
  for (const SafetensorsTensor& tensor : tensors) pieces.push_back(tensor.bytes);
  return checkpoint_internal::WriteDurably(path, pieces);
}

}  // namespace sluice
