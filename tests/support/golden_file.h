// Reads a golden: named arrays that another implementation wrote (tests/golden/make_goldens.py says
// which, with versions, and how to make them again). Layout, little-endian throughout:
//   8 bytes   length of the header
//   header    JSON: {"name": {"dtype": "F32" or "I64", "shape": […], "data_offsets": [begin, end]},
//             …, "__metadata__": {"key": "text", …}}; offsets count from the end of the header
//   data      arrays in C order, without gaps
// which is the layout of a safetensors file, so `safetensors` reads it too.
//
//   const auto golden = ReadGolden("tests/golden/bert_tiny_vanilla.golden");
//   ASSERT_TRUE(golden.ok()) << golden.status();
//   const GoldenArray& loss = golden->At("loss");
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::testing {

struct GoldenArray {
  std::vector<int64_t> shape;
  std::vector<float> floats;      // filled when dtype is F32
  std::vector<int64_t> integers;  // filled when dtype is I64

  int64_t size() const;  // product of the shape; 1 for a scalar
};

struct GoldenFile {
  std::map<std::string, GoldenArray> arrays;
  std::map<std::string, std::string> metadata;  // versions, variant, sizes of the model

  // CHECKs that the array is there.
  const GoldenArray& At(const std::string& name) const;
};

// DataError when the file cannot be read or is not of this layout: bad header, shape and offsets
// that do not agree, an unknown dtype, bytes missing or left over.
absl::StatusOr<GoldenFile> ReadGolden(const std::string& path);

}  // namespace sluice::testing
