#include "data/shard_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "data/content_hash.h"
#include "data/hdf5_attribute.h"

namespace sluice {
namespace {

// The dataset, when it is a one-dimensional array of `count` unsigned integers of `bytes` bytes.
absl::StatusOr<Hdf5Handle> OpenDataset(hid_t file, const char* name, int64_t count, int bytes,
                                       const std::string& path) {
  if (H5Lexists(file, name, H5P_DEFAULT) <= 0) return DataError("dataset is missing", path, name);
  // The block cache above keeps tokens; a second cache inside HDF5 would only double the memory.
  const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  if (H5Pset_chunk_cache(access.id(), 0, 0, H5D_CHUNK_CACHE_W0_DEFAULT) < 0) {
    return DataError("cannot set HDF5's chunk cache", path, Hdf5ErrorText());
  }
  Hdf5Handle dataset(H5Dopen2(file, name, access.id()), H5Dclose);
  if (!dataset.valid()) {
    return DataError("cannot open dataset", path, absl::StrCat(name, " (", Hdf5ErrorText(), ")"));
  }
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!type.valid() || H5Tget_class(type.id()) != H5T_INTEGER ||
      H5Tget_sign(type.id()) != H5T_SGN_NONE ||
      H5Tget_size(type.id()) != static_cast<size_t>(bytes)) {
    return DataError("dataset has the wrong type", path,
                     absl::StrCat(name, ", expected unsigned integers of ", bytes, " bytes"));
  }
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  if (!space.valid() || H5Sget_simple_extent_ndims(space.id()) != 1) {
    return DataError("dataset is not one-dimensional", path, name);
  }
  const hssize_t found = H5Sget_simple_extent_npoints(space.id());
  if (found != count) {
    return DataError("dataset disagrees with the header", path,
                     absl::StrCat(name, " has ", found, " elements, expected ", count));
  }
  return dataset;
}

absl::Status CheckRising(const std::vector<int64_t>& offsets, int64_t token_count, const char* name,
                         const std::string& path) {
  if (offsets.front() != 0) {
    return DataError("offsets do not start at 0", path, absl::StrCat(name, "[0] = ", offsets[0]));
  }
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] <= offsets[i - 1]) {
      return DataError("offsets do not rise", path,
                       absl::StrCat(name, "[", i, "] = ", offsets[i], " after ", offsets[i - 1]));
    }
  }
  if (offsets.back() != token_count) {
    return DataError("offsets do not end at the token count", path,
                     absl::StrCat(name, " ends at ", offsets.back(), " of ", token_count));
  }
  return absl::OkStatus();
}

absl::Status CheckCounts(const ShardHeader& header, const std::string& path) {
  const auto wrong = [&](const char* what, int64_t value) {
    return DataError("header is out of range", path, absl::StrCat(what, " = ", value));
  };
  const TokenizerIdentity& tokenizer = header.tokenizer;
  if (tokenizer.vocabulary_size <= 0 || tokenizer.vocabulary_size > INT32_MAX) {
    return wrong(shard_format::kVocabularySize, tokenizer.vocabulary_size);
  }
  if (header.token_count <= 0) return wrong(shard_format::kTokenCount, header.token_count);
  if (header.row_count <= 0 || header.row_count > header.token_count) {
    return wrong(shard_format::kRowCount, header.row_count);
  }
  if (header.document_count <= 0 || header.document_count > header.row_count) {
    return wrong(shard_format::kDocumentCount, header.document_count);
  }
  const SpecialTokenIds& special = tokenizer.special;
  for (const SpecialTokenField& field : kSpecialTokenFields) {
    const int32_t id = special.*field.id;
    if (id < -1 || id >= tokenizer.vocabulary_size) return wrong(field.name, id);
  }
  return absl::OkStatus();
}

absl::Status ReadTokenizer(hid_t file, const std::string& path, ShardHeader* header) {
  using namespace shard_format;  // NOLINT(google-build-using-namespace): names in the file
  TokenizerIdentity* tokenizer = &header->tokenizer;
  ASSIGN_OR_RETURN(tokenizer->kind, ReadTextAttribute(file, kTokenizerKind, path));
  ASSIGN_OR_RETURN(const int64_t cased, ReadIntegerAttribute(file, kCased, path));
  if (cased != 0 && cased != 1) {
    return DataError("header is out of range", path, absl::StrCat(kCased, " = ", cased));
  }
  tokenizer->cased = cased == 1;
  ASSIGN_OR_RETURN(tokenizer->vocabulary_size, ReadIntegerAttribute(file, kVocabularySize, path));
  ASSIGN_OR_RETURN(tokenizer->vocabulary_sha256, ReadTextAttribute(file, kVocabularySha256, path));
  for (const auto& [name, id, since_version] : kSpecialTokenFields) {
    if (since_version > header->format_version) continue;
    ASSIGN_OR_RETURN(const int64_t value, ReadIntegerAttribute(file, name, path));
    if (value < -1 || value > INT32_MAX) {
      return DataError("header is out of range", path, absl::StrCat(name, " = ", value));
    }
    tokenizer->special.*id = static_cast<int32_t>(value);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ShardReader> ShardReader::Open(const std::string& path) {
  SilenceHdf5();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return DataError("shard does not exist", path);
  if (std::filesystem::is_directory(path, error)) return DataError("shard is a folder", path);
  errno = 0;
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 < 0) {
    return DataError("cannot open shard", path,
                     errno != 0 ? std::strerror(errno) : Hdf5ErrorText());
  }
  if (is_hdf5 == 0) return DataError("shard is not an HDF5 file", path);
  ShardReader reader;
  reader.path_ = path;
  reader.file_ = Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!reader.file_.valid()) return DataError("cannot open shard", path, Hdf5ErrorText());
  RETURN_IF_ERROR(reader.ReadHeader());
  RETURN_IF_ERROR(reader.OpenDatasets());
  return reader;
}

absl::Status ShardReader::ReadHeader() {
  using namespace shard_format;  // NOLINT(google-build-using-namespace): names in the file
  const hid_t file = file_.id();
  if (H5Aexists(file, kFormatVersion) <= 0 || H5Lexists(file, kTokens, H5P_DEFAULT) <= 0) {
    return DataError("is an HDF5 file, but not a token shard", path_,
                     "no attribute format_version or no dataset tokens");
  }
  ASSIGN_OR_RETURN(header_.format_version, ReadIntegerAttribute(file, kFormatVersion, path_));
  if (header_.format_version < 1 || header_.format_version > kShardFormatVersion) {
    return DataError("shard has an unknown format version", path_,
                     absl::StrCat("found ", header_.format_version, ", this program reads 1 to ",
                                  kShardFormatVersion));
  }
  RETURN_IF_ERROR(ReadTokenizer(file, path_, &header_));
  ASSIGN_OR_RETURN(header_.token_count, ReadIntegerAttribute(file, kTokenCount, path_));
  ASSIGN_OR_RETURN(header_.document_count, ReadIntegerAttribute(file, kDocumentCount, path_));
  ASSIGN_OR_RETURN(header_.row_count, ReadIntegerAttribute(file, kRowCount, path_));
  ASSIGN_OR_RETURN(header_.creator, ReadTextAttribute(file, kCreator, path_));
  ASSIGN_OR_RETURN(const std::string xxh3, ReadTextAttribute(file, kXxh3, path_));
  if (!ParseXxh3(xxh3, &header_.xxh3)) {
    return DataError("attribute is not 16 hex digits", path_, absl::StrCat(kXxh3, " = ", xxh3));
  }
  RETURN_IF_ERROR(CheckCounts(header_, path_));
  header_.token_bytes = TokenBytesFor(header_.tokenizer.vocabulary_size);
  return absl::OkStatus();
}

absl::Status ShardReader::OpenDatasets() {
  ASSIGN_OR_RETURN(tokens_, OpenDataset(file_.id(), shard_format::kTokens, header_.token_count,
                                        header_.token_bytes, path_));
  tokens_space_ = Hdf5Handle(H5Dget_space(tokens_.id()), H5Sclose);
  const std::pair<const char*, int64_t> offsets[] = {
      {shard_format::kDocumentOffsets, header_.document_count + 1},
      {shard_format::kRowOffsets, header_.row_count + 1}};
  for (const auto& [name, count] : offsets) {
    RETURN_IF_ERROR(OpenDataset(file_.id(), name, count, sizeof(uint64_t), path_).status());
  }
  return absl::OkStatus();
}

absl::Status ShardReader::ReadRange(hid_t memory_type, int64_t begin, int64_t count,
                                    void* out) const {
  CHECK(begin >= 0 && count >= 0 && begin <= header_.token_count - count)
      << "tokens " << begin << " + " << count << " of " << path_;
  if (count == 0) return absl::OkStatus();
  SilenceHdf5();  // the calling thread may not be the one that opened the shard
  const auto start = static_cast<hsize_t>(begin);
  const auto extent = static_cast<hsize_t>(count);
  const Hdf5Handle memory_space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
  if (!memory_space.valid() ||
      H5Sselect_hyperslab(tokens_space_.id(), H5S_SELECT_SET, &start, nullptr, &extent, nullptr) <
          0 ||
      H5Dread(tokens_.id(), memory_type, memory_space.id(), tokens_space_.id(), H5P_DEFAULT, out) <
          0) {
    return DataError("cannot read tokens", path_,
                     absl::StrCat(begin, " to ", begin + count, " (", Hdf5ErrorText(), ")"));
  }
  return absl::OkStatus();
}

absl::Status ShardReader::ReadTokens(int64_t begin, int64_t count, int32_t* ids) const {
  return ReadRange(H5T_NATIVE_INT32, begin, count, ids);
}

absl::Status ShardReader::ReadStoredTokens(int64_t begin, int64_t count, void* stored) const {
  return ReadRange(header_.token_bytes == 2 ? H5T_NATIVE_UINT16 : H5T_NATIVE_UINT32, begin, count,
                   stored);
}

absl::StatusOr<std::vector<int64_t>> ShardReader::ReadOffsets(const char* name,
                                                              int64_t count) const {
  SilenceHdf5();
  ASSIGN_OR_RETURN(const Hdf5Handle dataset,
                   OpenDataset(file_.id(), name, count, sizeof(uint64_t), path_));
  std::vector<int64_t> offsets(static_cast<size_t>(count));
  // Values above INT64_MAX are clamped by HDF5, and then caught by the checks of the order.
  if (H5Dread(dataset.id(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets.data()) < 0) {
    return DataError("cannot read dataset", path_, absl::StrCat(name, " (", Hdf5ErrorText(), ")"));
  }
  return offsets;
}

absl::StatusOr<std::vector<int64_t>> ShardReader::ReadDocumentOffsets() const {
  return ReadOffsets(shard_format::kDocumentOffsets, header_.document_count + 1);
}
absl::StatusOr<std::vector<int64_t>> ShardReader::ReadRowOffsets() const {
  return ReadOffsets(shard_format::kRowOffsets, header_.row_count + 1);
}

absl::Status ShardReader::CheckOffsets() const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> documents, ReadDocumentOffsets());
  ASSIGN_OR_RETURN(const std::vector<int64_t> rows, ReadRowOffsets());
  RETURN_IF_ERROR(
      CheckRising(documents, header_.token_count, shard_format::kDocumentOffsets, path_));
  RETURN_IF_ERROR(CheckRising(rows, header_.token_count, shard_format::kRowOffsets, path_));
  if (!std::includes(rows.begin(), rows.end(), documents.begin(), documents.end())) {
    return DataError("a document does not start a row", path_);
  }
  return absl::OkStatus();
}

absl::Status ShardReader::Verify() const {
  RETURN_IF_ERROR(CheckOffsets());
  constexpr int64_t kPiece = 64 * shard_format::kChunkTokens;
  std::vector<uint16_t> narrow(header_.token_bytes == 2 ? kPiece : 0);
  std::vector<uint32_t> wide(header_.token_bytes == 4 ? kPiece : 0);
  Xxh3Hasher hasher;
  for (int64_t begin = 0; begin < header_.token_count; begin += kPiece) {
    const int64_t count = std::min(kPiece, header_.token_count - begin);
    void* stored = narrow.empty() ? static_cast<void*>(wide.data()) : narrow.data();
    RETURN_IF_ERROR(ReadStoredTokens(begin, count, stored));
    hasher.Update(stored, static_cast<size_t>(count * header_.token_bytes));
    for (int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      const int64_t id = narrow.empty() ? wide[at] : narrow[at];
      if (id >= header_.tokenizer.vocabulary_size) {
        return DataError("token is outside of the vocabulary", path_,
                         absl::StrCat("token ", begin + i, " is ", id, ", vocabulary size ",
                                      header_.tokenizer.vocabulary_size));
      }
    }
  }
  if (hasher.Digest() != header_.xxh3) {
    return DataError(
        "tokens do not match their checksum", path_,
        absl::StrCat("xxh3 ", Xxh3Text(hasher.Digest()), ", header says ", Xxh3Text(header_.xxh3)));
  }
  return absl::OkStatus();
}

}  // namespace sluice
