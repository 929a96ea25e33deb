#include "data/shard_writer.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/hdf5_handle.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"
#include "data/hdf5_attribute.h"
#include "data/hdf5_memory_file.h"

namespace sluice {
namespace {

static_assert(std::endian::native == std::endian::little, "hashes and ids are little-endian");

constexpr char kCreatorText[] = "sluice 0.1.0";

absl::Status Failed(const std::string& path, const char* step) {
  return DeviceError("HDF5 cannot build shard", path,
                     absl::StrCat(step, " (", Hdf5ErrorText(), ")"));
}

bool WriteDataset(hid_t file, const char* name, hid_t file_type, hid_t memory_type,
                  const void* values, size_t count) {
  const hsize_t extent = count;
  const hsize_t chunk = std::min<hsize_t>(extent, shard_format::kChunkTokens);
  const Hdf5Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (!space.valid() || !creation.valid() || H5Pset_chunk(creation.id(), 1, &chunk) < 0 ||
      H5Pset_fletcher32(creation.id()) < 0 || H5Pset_obj_track_times(creation.id(), false) < 0) {
    return false;
  }
  Hdf5Handle dataset(
      H5Dcreate2(file, name, file_type, space.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
      H5Dclose);
  return dataset.valid() &&
         H5Dwrite(dataset.id(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0 &&
         dataset.Close();
}

bool WriteHeader(hid_t file, const ShardHeader& header) {
  using namespace shard_format;  // NOLINT(google-build-using-namespace): names in the file
  std::vector<std::pair<const char*, int64_t>> integers = {
      {kFormatVersion, header.format_version},
      {kCased, header.tokenizer.cased ? 1 : 0},
      {kVocabularySize, header.tokenizer.vocabulary_size},
      {kTokenCount, header.token_count},
      {kDocumentCount, header.document_count},
      {kRowCount, header.row_count},
  };
  for (const SpecialTokenField& field : kSpecialTokenFields) {
    integers.emplace_back(field.name, header.tokenizer.special.*field.id);
  }
  const std::pair<const char*, std::string> texts[] = {
      {kTokenizerKind, header.tokenizer.kind},
      {kVocabularySha256, header.tokenizer.vocabulary_sha256},
      {kXxh3, Xxh3Text(header.xxh3)},
      {kCreator, header.creator},
  };
  return std::all_of(integers.begin(), integers.end(),
                     [&](const auto& item) {
                       return WriteIntegerAttribute(file, item.first, item.second);
                     }) &&
         std::all_of(std::begin(texts), std::end(texts), [&](const auto& item) {
           return WriteTextAttribute(file, item.first, item.second);
         });
}

}  // namespace

ShardWriter::ShardWriter(const TokenizerIdentity& tokenizer)
    : tokenizer_(tokenizer), token_bytes_(TokenBytesFor(tokenizer.vocabulary_size)) {
  CHECK_GT(tokenizer.vocabulary_size, 0);
}

void ShardWriter::AppendRow(std::span<const int32_t> ids) {
  if (ids.empty()) return;
  for (int32_t id : ids) {
    CHECK(id >= 0 && id < tokenizer_.vocabulary_size) << "token id " << id;
  }
  if (token_bytes_ == 2) {
    tokens16_.insert(tokens16_.end(), ids.begin(), ids.end());
  } else {
    tokens32_.insert(tokens32_.end(), ids.begin(), ids.end());
  }
  row_offsets_.push_back(row_offsets_.back() + ids.size());
}

void ShardWriter::EndDocument() {
  if (row_offsets_.back() != document_offsets_.back()) {
    document_offsets_.push_back(row_offsets_.back());
  }
}

ShardHeader ShardWriter::MakeHeader() const {
  Xxh3Hasher hasher;
  hasher.Update(tokens16_.data(), tokens16_.size() * sizeof(uint16_t));
  hasher.Update(tokens32_.data(), tokens32_.size() * sizeof(uint32_t));
  return {.tokenizer = tokenizer_,
          .token_count = token_count(),
          .document_count = static_cast<int64_t>(document_offsets_.size()) - 1,
          .row_count = static_cast<int64_t>(row_offsets_.size()) - 1,
          .xxh3 = hasher.Digest(),
          .token_bytes = token_bytes_,
          .creator = kCreatorText};
}

absl::StatusOr<ShardSummary> ShardWriter::Write(const std::string& path) {
  EndDocument();
  CHECK_GT(token_count(), 0);
  const ShardHeader header = MakeHeader();
  SilenceHdf5();
  Hdf5MemoryFile file;
  if (!file.Open()) return Failed(path, "create");
  const bool narrow = token_bytes_ == 2;
  const void* tokens = narrow ? static_cast<const void*>(tokens16_.data()) : tokens32_.data();
  if (!WriteHeader(file.id(), header)) return Failed(path, "attributes");
  if (!WriteDataset(file.id(), shard_format::kTokens, narrow ? H5T_STD_U16LE : H5T_STD_U32LE,
                    narrow ? H5T_NATIVE_UINT16 : H5T_NATIVE_UINT32, tokens,
                    static_cast<size_t>(header.token_count)) ||
      !WriteDataset(file.id(), shard_format::kDocumentOffsets, H5T_STD_U64LE, H5T_NATIVE_UINT64,
                    document_offsets_.data(), document_offsets_.size()) ||
      !WriteDataset(file.id(), shard_format::kRowOffsets, H5T_STD_U64LE, H5T_NATIVE_UINT64,
                    row_offsets_.data(), row_offsets_.size())) {
    return Failed(path, "datasets");
  }
  absl::string_view image;
  if (!file.Close(&image)) return Failed(path, "close");
  RETURN_IF_ERROR(WriteFileAtomically(path, image));
  tokens16_.clear();
  tokens32_.clear();
  document_offsets_.assign(1, 0);
  row_offsets_.assign(1, 0);
  return ShardSummary{.header = header, .file_bytes = static_cast<int64_t>(image.size())};
}

}  // namespace sluice
