// Small files of NVIDIA's BERT layout, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/hdf5_handle.h"

namespace sluice::testing {

struct NvidiaBertData {
  int64_t rows = 0, T = 0, P = 0;
  std::map<std::string, std::vector<int64_t>>
      values;  // by dataset, row by row; empty: left to HDF5, zeros

  // Value `column` of row `row` of a dataset of any width.
  int64_t& At(const std::string& dataset, int64_t row, int64_t column = 0);
};

// Rows of two segments of random ids below `vocabulary_size` (0 is padding, 1 [CLS], 2 [SEP], 3
// [MASK]) with 0 to P targets each; lengths from 5 to T. From a seed.
NvidiaBertData RandomNvidiaBert(int64_t rows, int64_t T, int64_t P, int64_t vocabulary_size,
                                uint64_t seed);

// How they are written; the defaults are those of NVIDIA's program, in small.
struct NvidiaBertLayout {
  int64_t chunk_rows = 64, chunk_columns = 8;  // 0 rows: not chunked
  bool compressed = true;
  std::map<std::string, hid_t> types{};                  // instead of the usual ones
  std::map<std::string, std::vector<hsize_t>> shapes{};  // likewise; missing values are 0
  std::set<std::string> left_out{};
};

// Aborts when HDF5 declines.
void WriteNvidiaBert(const std::string& path, const NvidiaBertData& data,
                     const NvidiaBertLayout& layout = {});

}  // namespace sluice::testing
