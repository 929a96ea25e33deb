#include "nvidia_bert_for_tests.h"

#include <algorithm>

#include "core/check.h"
#include "data/nvidia_bert_format.h"
#include "dataset_for_tests.h"

namespace sluice::testing {
namespace {

using nvidia_bert_format::DatasetDescription;
using nvidia_bert_format::kDatasets;
using nvidia_bert_format::Width;

// Calls next(bound) for the numbers of a fixed random sequence.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : seed_(seed) {}
  int64_t Next(int64_t bound) { return RandomBelow(seed_, n_++, bound); }

 private:
  uint64_t seed_, n_ = 0;
};

// One row at the end of every dataset.
void AppendRow(Numbers& numbers, int64_t vocabulary_size, NvidiaBertData* data) {
  auto& values = data->values;
  const int64_t length = 5 + numbers.Next(data->T - 4);
  const int64_t second = 2 + numbers.Next(length - 3);  // first token of the second segment
  std::vector<int64_t> ids(static_cast<size_t>(data->T)), positions, targets;
  const int64_t wanted = numbers.Next(data->P + 1);
  for (int64_t t = 0; t < data->T; ++t) {
    const bool padding = t >= length, special = t == 0 || t == second - 1 || t == length - 1;
    int64_t id = padding ? 0 : t == 0 ? 1 : special ? 2 : 4 + numbers.Next(vocabulary_size - 4);
    if (!padding && !special && std::ssize(positions) < wanted && numbers.Next(2) == 0) {
      positions.push_back(t);
      targets.push_back(id);
      id = 3;
    }
    values["input_ids"].push_back(id);
    values["input_mask"].push_back(padding ? 0 : 1);
    values["segment_ids"].push_back(!padding && t >= second ? 1 : 0);
  }
  positions.resize(static_cast<size_t>(data->P));
  targets.resize(static_cast<size_t>(data->P));
  const auto append = [&](const char* name, const std::vector<int64_t>& row) {
    values[name].insert(values[name].end(), row.begin(), row.end());
  };
  append("masked_lm_positions", positions);
  append("masked_lm_ids", targets);
  values["next_sentence_labels"].push_back(numbers.Next(2));
}

hid_t UsualType(const std::string& dataset) {
  const bool wide =
      dataset == "input_ids" || dataset == "masked_lm_positions" || dataset == "masked_lm_ids";
  return wide ? H5T_STD_I32LE : H5T_STD_I8LE;
}

void WriteDataset(hid_t file, const DatasetDescription& description, const NvidiaBertData& data,
                  const NvidiaBertLayout& layout) {
  const std::string name = description.name;
  const auto rows = static_cast<hsize_t>(data.rows);
  std::vector<hsize_t> shape = {rows};
  if (description.width == Width::kRow) shape = {rows, static_cast<hsize_t>(data.T)};
  if (description.width == Width::kTargets) shape = {rows, static_cast<hsize_t>(data.P)};
  if (layout.shapes.count(name) != 0) shape = layout.shapes.at(name);
  const hid_t type = layout.types.count(name) != 0 ? layout.types.at(name) : UsualType(name);
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
                         H5Sclose);
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (layout.chunk_rows > 0) {
    std::vector<hsize_t> chunk = {static_cast<hsize_t>(layout.chunk_rows)};
    while (chunk.size() < shape.size()) chunk.push_back(static_cast<hsize_t>(layout.chunk_columns));
    for (size_t d = 0; d < chunk.size(); ++d)
      chunk[d] = std::max<hsize_t>(1, std::min(chunk[d], shape[d]));
    CHECK(H5Pset_chunk(creation.id(), static_cast<int>(chunk.size()), chunk.data()) >= 0);
    if (layout.compressed) CHECK(H5Pset_deflate(creation.id(), 4) >= 0);
  }
  const Hdf5Handle dataset(
      H5Dcreate2(file, name.c_str(), type, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      H5Dclose);
  CHECK(dataset.valid()) << name << ": " << Hdf5ErrorText();
  std::vector<int64_t> values = data.values.at(name);
  if (values.empty()) return;
  hsize_t count = 1;
  for (hsize_t extent : shape) count *= extent;
  values.resize(count);
  if (H5Tget_class(type) == H5T_STRING) return;  // there is no way from numbers to texts
  CHECK(H5Dwrite(dataset.id(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0)
      << name << ": " << Hdf5ErrorText();
}

}  // namespace

int64_t& NvidiaBertData::At(const std::string& dataset, int64_t row, int64_t column) {
  std::vector<int64_t>& all = values.at(dataset);
  return all.at(static_cast<size_t>(row * (std::ssize(all) / rows) + column));
}

NvidiaBertData RandomNvidiaBert(int64_t rows, int64_t T, int64_t P, int64_t vocabulary_size,
                                uint64_t seed) {
  NvidiaBertData data{.rows = rows, .T = T, .P = P, .values = {}};
  Numbers numbers(seed);
  for (int64_t row = 0; row < rows; ++row) AppendRow(numbers, vocabulary_size, &data);
  return data;
}

void WriteNvidiaBert(const std::string& path, const NvidiaBertData& data,
                     const NvidiaBertLayout& layout) {
  SilenceHdf5();
  Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  CHECK(file.valid()) << path << ": " << Hdf5ErrorText();
  for (const DatasetDescription& description : kDatasets) {
    if (layout.left_out.count(description.name) == 0) {
      WriteDataset(file.id(), description, data, layout);
    }
  }
  CHECK(file.Close());
}

}  // namespace sluice::testing
