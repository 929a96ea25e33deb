#include "data/nvidia_bert_file.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/hdf5_handle.h"
#include "core/status.h"
#include "data/nvidia_bert_format.h"

namespace sluice {
namespace {

using namespace nvidia_bert_format;  // NOLINT(google-build-using-namespace): names in the file

// More rows than any such file has, and few enough that nothing computed from it overflows.
constexpr int64_t kLargestRows = INT32_MAX;
constexpr int64_t kLargestWidth = 1048576;

struct Dataset {
  Hdf5Handle handle;
  int64_t rows = 0, width = 1;
  int64_t chunk_rows = 1;
};

// The datasets of an open file, in the order of kDatasets.
struct File {
  Hdf5Handle handle;
  std::array<Dataset, kDatasets.size()> datasets;
};

absl::Status CheckType(const Dataset& dataset, const char* name, const std::string& path) {
  const Hdf5Handle type(H5Dget_type(dataset.handle.id()), H5Tclose);
  if (!type.valid() || H5Tget_class(type.id()) != H5T_INTEGER || H5Tget_size(type.id()) > 8) {
    return DataError("dataset has the wrong type", path, absl::StrCat(name, ", expected integers"));
  }
  return absl::OkStatus();
}

absl::Status ReadShape(const DatasetDescription& description, const std::string& path,
                       Dataset* dataset) {
  const Hdf5Handle space(H5Dget_space(dataset->handle.id()), H5Sclose);
  const int dimensions = space.valid() ? H5Sget_simple_extent_ndims(space.id()) : -1;
  if (dimensions != description.dimensions) {
    return DataError(
        "dataset has the wrong number of dimensions", path,
        absl::StrCat(description.name, " has ", dimensions, ", expected ", description.dimensions));
  }
  hsize_t extent[2] = {0, 1};
  H5Sget_simple_extent_dims(space.id(), extent, nullptr);
  if (extent[0] == 0 || extent[0] > kLargestRows || extent[1] == 0 || extent[1] > kLargestWidth) {
    return DataError("dataset has an impossible shape", path,
                     absl::StrCat(description.name, " ", extent[0], " x ", extent[1]));
  }
  dataset->rows = static_cast<int64_t>(extent[0]);
  dataset->width = static_cast<int64_t>(extent[1]);
  const Hdf5Handle layout(H5Dget_create_plist(dataset->handle.id()), H5Pclose);
  hsize_t chunk[2] = {1, 1};
  if (layout.valid() && H5Pget_layout(layout.id()) == H5D_CHUNKED &&
      H5Pget_chunk(layout.id(), 2, chunk) > 0) {
    dataset->chunk_rows = std::min(static_cast<int64_t>(chunk[0]), dataset->rows);
  }
  return absl::OkStatus();
}

absl::Status OpenDataset(const DatasetDescription& description, hid_t file, const std::string& path,
                         Dataset* dataset) {
  if (H5Lexists(file, description.name, H5P_DEFAULT) <= 0) {
    return DataError("dataset is missing", path, description.name);
  }
  // Blocks are read once, and whole chunks at a time.
  const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.id(), 0, 0, H5D_CHUNK_CACHE_W0_DEFAULT);
  dataset->handle = Hdf5Handle(H5Dopen2(file, description.name, access.id()), H5Dclose);
  if (!dataset->handle.valid()) {
    return DataError("cannot open dataset", path,
                     absl::StrCat(description.name, " (", Hdf5ErrorText(), ")"));
  }
  RETURN_IF_ERROR(CheckType(*dataset, description.name, path));
  return ReadShape(description, path, dataset);
}

absl::StatusOr<File> OpenFile(const std::string& path) {
  SilenceHdf5();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return DataError("file does not exist", path);
  if (std::filesystem::is_directory(path, error)) return DataError("is a folder, not a file", path);
  if (H5Fis_hdf5(path.c_str()) <= 0) return DataError("is not an HDF5 file", path);
  File file;
  file.handle = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.handle.valid()) return DataError("cannot open file", path, Hdf5ErrorText());
  if (H5Lexists(file.handle.id(), kDatasets[kInputIds].name, H5P_DEFAULT) <= 0) {
    return DataError("is an HDF5 file, but not of NVIDIA's BERT layout", path,
                     "no dataset input_ids");
  }
  for (size_t i = 0; i < kDatasets.size(); ++i) {
    RETURN_IF_ERROR(OpenDataset(kDatasets[i], file.handle.id(), path, &file.datasets[i]));
  }
  return file;
}

absl::StatusOr<NvidiaBertHeader> HeaderOf(const File& file, const std::string& path) {
  const Dataset& ids = file.datasets[kInputIds];
  NvidiaBertHeader header{.rows = ids.rows,
                          .sequence_length = ids.width,
                          .predictions = file.datasets[kMaskedPositions].width};
  for (size_t i = 0; i < kDatasets.size(); ++i) {
    const Dataset& dataset = file.datasets[i];
    const DatasetDescription& description = kDatasets[i];
    const int64_t width = description.width == Width::kRow       ? header.sequence_length
                          : description.width == Width::kTargets ? header.predictions
                                                                 : 1;
    if (dataset.rows != header.rows || dataset.width != width) {
      return DataError("datasets disagree about their shape", path,
                       absl::StrCat(description.name, " is ", dataset.rows, " x ", dataset.width,
                                    ", expected ", header.rows, " x ", width));
    }
    // Labels are one value a row: their long chunks cost nothing.
    if (description.dimensions == 2) {
      header.chunk_rows = std::max(header.chunk_rows, dataset.chunk_rows);
    }
  }
  if (header.predictions > header.sequence_length) {
    return DataError("more targets than tokens a row", path,
                     absl::StrCat(header.predictions, " > ", header.sequence_length));
  }
  return header;
}

struct Range {
  int64_t begin, count;
};

template <typename T>
absl::Status ReadRange(const Dataset& dataset, size_t which, const std::string& path, Range range,
                       std::vector<T>* out) {
  static_assert(sizeof(T) == 1 || sizeof(T) == 4);
  out->resize(static_cast<size_t>(range.count * dataset.width));
  const int dimensions = kDatasets[which].dimensions;
  const hsize_t start[2] = {static_cast<hsize_t>(range.begin), 0};
  const hsize_t extent[2] = {static_cast<hsize_t>(range.count),
                             static_cast<hsize_t>(dataset.width)};
  const Hdf5Handle file_space(H5Dget_space(dataset.handle.id()), H5Sclose);
  const Hdf5Handle memory_space(H5Screate_simple(dimensions, extent, nullptr), H5Sclose);
  // Values that do not fit are clamped by HDF5, and then caught by the checks of the values.
  const hid_t type = sizeof(T) == 1 ? H5T_NATIVE_INT8 : H5T_NATIVE_INT32;
  if (!file_space.valid() || !memory_space.valid() ||
      H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start, nullptr, extent, nullptr) < 0 ||
      H5Dread(dataset.handle.id(), type, memory_space.id(), file_space.id(), H5P_DEFAULT,
              out->data()) < 0) {
    return DataError("cannot read dataset", path,
                     absl::StrCat(kDatasets[which].name, ", rows ", range.begin, " to ",
                                  range.begin + range.count, " (", Hdf5ErrorText(), ")"));
  }
  return absl::OkStatus();
}

// Checks rows that were read, and finds their lengths and counts.
class RowChecker {
 public:
  RowChecker(const std::string& path, const NvidiaBertHeader& header,
             const NvidiaBertLimits& limits, int64_t first_row)
      : path_(path), header_(header), limits_(limits), first_row_(first_row) {}

  absl::Status Check(const std::vector<int8_t>& mask, NvidiaBertRows* rows) const {
    const auto R = static_cast<int64_t>(rows->next_sentence_labels.size());
    rows->lengths.resize(static_cast<size_t>(R));
    rows->counts.resize(static_cast<size_t>(R));
    for (int64_t r = 0; r < R; ++r) {
      const auto row = static_cast<size_t>(r);
      RETURN_IF_ERROR(CheckTokens(r, mask.data(), *rows, &rows->lengths[row]));
      RETURN_IF_ERROR(CheckTargets(r, *rows, &rows->counts[row]));
      const int8_t label = rows->next_sentence_labels[row];
      if (label != 0 && label != 1) {
        return Wrong(kNextSentenceLabels, r, 0, label, "expected 0 or 1");
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status CheckTokens(int64_t r, const int8_t* masks, const NvidiaBertRows& rows,
                           int32_t* length) const {
    const int64_t T = header_.sequence_length;
    const int8_t* mask = masks + r * T;
    const int32_t* tokens = rows.tokens.data() + r * T;
    const int8_t* segments = rows.segments.data() + r * T;
    *length =
        static_cast<int32_t>(std::find_if(mask, mask + T, [](int8_t m) { return m != 1; }) - mask);
    if (*length == 0) return Wrong(kInputMask, r, 0, mask[0], "a row has at least one token");
    for (int64_t t = 0; t < T; ++t) {
      if (t >= *length && mask[t] != 0) {
        return Wrong(kInputMask, r, t, mask[t], "expected ones and then zeros");
      }
      if (tokens[t] < 0 || tokens[t] >= limits_.vocabulary_size) {
        return Wrong(kInputIds, r, t, tokens[t],
                     absl::StrCat("expected an id below ", limits_.vocabulary_size));
      }
      if (segments[t] < 0 || segments[t] >= limits_.segments) {
        return Wrong(kSegmentIds, r, t, segments[t],
                     absl::StrCat("expected a segment below ", limits_.segments));
      }
    }
    return absl::OkStatus();
  }

  // Position 0 holds [CLS] and is never a target: a 0 ends the list.
  absl::Status CheckTargets(int64_t r, const NvidiaBertRows& rows, int32_t* count) const {
    const int64_t P = header_.predictions;
    const int32_t* positions = rows.positions.data() + r * P;
    const int32_t* targets = rows.targets.data() + r * P;
    const int32_t length = rows.lengths[static_cast<size_t>(r)];
    *count = static_cast<int32_t>(std::find(positions, positions + P, 0) - positions);
    for (int64_t p = 0; p < P; ++p) {
      if (p >= *count) {
        if (positions[p] != 0) {
          return Wrong(kMaskedPositions, r, p, positions[p], "expected zeros after the first");
        }
        continue;
      }
      if (positions[p] < 0 || positions[p] >= length) {
        return Wrong(kMaskedPositions, r, p, positions[p],
                     absl::StrCat("the row has ", length, " tokens"));
      }
      if (p > 0 && positions[p] <= positions[p - 1]) {
        return Wrong(kMaskedPositions, r, p, positions[p],
                     absl::StrCat("does not rise after ", positions[p - 1]));
      }
      if (targets[p] < 0 || targets[p] >= limits_.vocabulary_size) {
        return Wrong(kMaskedIds, r, p, targets[p],
                     absl::StrCat("expected an id below ", limits_.vocabulary_size));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Wrong(size_t which, int64_t row, int64_t column, int64_t value,
                     absl::string_view why) const {
    return DataError(
        "value is out of range", path_,
        absl::StrCat(kDatasets[which].name, "[", first_row_ + row,
                     kDatasets[which].dimensions == 2 ? absl::StrCat(", ", column) : std::string(),
                     "] = ", value, ", ", why));
  }

  const std::string& path_;
  const NvidiaBertHeader& header_;
  const NvidiaBertLimits& limits_;
  int64_t first_row_;
};

}  // namespace

int64_t NvidiaBertRowBytes(int64_t sequence_length, int64_t predictions) {
  return sequence_length * 5 + predictions * 8 + 9;
}

bool LooksLikeNvidiaBert(const std::string& path) {
  SilenceHdf5();
  if (H5Fis_hdf5(path.c_str()) <= 0) return false;
  const Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  return file.valid() && H5Lexists(file.id(), kDatasets[kInputIds].name, H5P_DEFAULT) > 0;
}

absl::StatusOr<NvidiaBertHeader> ReadNvidiaBertHeader(const std::string& path) {
  ASSIGN_OR_RETURN(const File file, OpenFile(path));
  return HeaderOf(file, path);
}

absl::Status ReadNvidiaBertRows(const std::string& path, const NvidiaBertHeader& header,
                                const NvidiaBertLimits& limits, int64_t begin, int64_t count,
                                NvidiaBertRows* rows) {
  CHECK(begin >= 0 && count >= 1 && begin <= header.rows - count)
      << "rows " << begin << " + " << count << " of " << header.rows << " of " << path;
  ASSIGN_OR_RETURN(const File file, OpenFile(path));
  ASSIGN_OR_RETURN(const NvidiaBertHeader now, HeaderOf(file, path));
  if (now != header) return DataError("file has changed since it was opened", path);
  const Range range{begin, count};
  const auto read = [&](size_t which, auto* out) {
    return ReadRange(file.datasets[which], which, path, range, out);
  };
  std::vector<int8_t> mask;
  RETURN_IF_ERROR(read(kInputIds, &rows->tokens));
  RETURN_IF_ERROR(read(kInputMask, &mask));
  RETURN_IF_ERROR(read(kSegmentIds, &rows->segments));
  RETURN_IF_ERROR(read(kMaskedPositions, &rows->positions));
  RETURN_IF_ERROR(read(kMaskedIds, &rows->targets));
  RETURN_IF_ERROR(read(kNextSentenceLabels, &rows->next_sentence_labels));
  return RowChecker(path, header, limits, begin).Check(mask, rows);
}

}  // namespace sluice
