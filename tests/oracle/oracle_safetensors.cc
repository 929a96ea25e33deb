// Reads a safetensors file and writes it again: every F32, F16 and BF16 tensor as F32, I64 as I64.
//
//   oracle_safetensors FROM TO
#include <cstdio>
#include <list>

#include "checkpoint/safetensors.h"
#include "core/status.h"

namespace sluice {
namespace {

absl::Status Copy(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const SafetensorsReader file, SafetensorsReader::Open(from));
  std::list<std::vector<float>> floats;  // what the tensors look at
  std::list<std::vector<int64_t>> integers;
  std::vector<SafetensorsTensor> tensors;
  for (const SafetensorsEntry& entry : file.entries()) {
    if (entry.type == SafetensorsType::kInt64) {
      integers.emplace_back(entry.elements());
      RETURN_IF_ERROR(file.Read(entry.name, std::span<int64_t>(integers.back())));
      tensors.push_back(
          SafetensorsTensor::Of(entry.name, entry.dims, std::span<const int64_t>(integers.back())));
    } else {
      floats.emplace_back(entry.elements());
      RETURN_IF_ERROR(file.Read(entry.name, std::span<float>(floats.back())));
      tensors.push_back(
          SafetensorsTensor::Of(entry.name, entry.dims, std::span<const float>(floats.back())));
    }
  }
  return WriteSafetensors(to, tensors, file.metadata());
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::Status status = sluice::Copy(argv[1], argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
