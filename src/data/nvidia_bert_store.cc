#include "data/nvidia_bert_store.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Files with smaller chunks, or none, are read by so many rows; larger chunks are cut here, which
// also bounds what a forged header can make us allocate: 65536 rows of 128 tokens.
constexpr int64_t kSmallestBlockRows = 256;
constexpr int64_t kLargestBlockTokens = int64_t{1} << 23;

absl::StatusOr<std::vector<std::string>> FilesOfFolder(const std::string& path) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string ending = entry->path().extension().string();
    if (ending == ".hdf5" || ending == ".h5") files.push_back(entry->path().string());
  }
  if (error) return DataError("cannot read folder", path, error.message());
  if (files.empty()) return DataError("folder has no file that ends in .hdf5 or .h5", path);
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<std::vector<std::string>> FilesOfList(const std::string& path) {
  std::ifstream list(path);
  if (!list) return DataError("cannot read list of files", path);
  std::vector<std::string> files;
  for (std::string line; std::getline(list, line);) {
    const std::string name(absl::StripAsciiWhitespace(line));
    if (!name.empty()) files.push_back((fs::path(path).parent_path() / name).string());
  }
  if (files.empty()) return DataError("list names no file", path);
  return files;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> NvidiaBertFiles(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return FilesOfFolder(path);
  if (absl::EndsWith(path, ".txt")) return FilesOfList(path);
  return std::vector<std::string>{path};
}

absl::StatusOr<NvidiaBertStore> NvidiaBertStore::Open(const std::string& path,
                                                      const NvidiaBertLimits& limits) {
  NvidiaBertStore store;
  store.limits_ = limits;
  ASSIGN_OR_RETURN(store.files_, NvidiaBertFiles(path));
  for (const std::string& file : store.files_) {
    ASSIGN_OR_RETURN(const NvidiaBertHeader header, ReadNvidiaBertHeader(file));
    store.headers_.push_back(header);
    if (header.sequence_length != store.sequence_length()) {
      return DataError("files have rows of different lengths", file,
                       absl::StrCat(header.sequence_length, ", ", store.files_.front(), " has ",
                                    store.sequence_length()));
    }
    store.predictions_ = std::max(store.predictions_, header.predictions);
  }
  store.CutBlocks();
  return store;
}

void NvidiaBertStore::CutBlocks() {
  for (const NvidiaBertHeader& header : headers_) {
    block_rows_ = std::max(block_rows_, header.chunk_rows);
  }
  const int64_t most = std::max<int64_t>(1, kLargestBlockTokens / sequence_length());
  block_rows_ = std::min(std::max(block_rows_, kSmallestBlockRows), most);
  for (size_t f = 0; f < headers_.size(); ++f) {
    for (int64_t begin = 0; begin < headers_[f].rows; begin += block_rows_) {
      rows_of_block_.push_back(std::min(block_rows_, headers_[f].rows - begin));
      places_.push_back({f, begin});
    }
  }
}

int64_t NvidiaBertStore::rows() const {
  int64_t rows = 0;
  for (const NvidiaBertHeader& header : headers_) rows += header.rows;
  return rows;
}

void NvidiaBertStore::KeepBlocks(int64_t blocks) {
  CHECK_GE(blocks, 1);
  slot_limit_ = std::min(blocks, std::ssize(places_));
  slots_.clear();
}

int64_t NvidiaBertStore::memory_bytes() const {
  return slot_limit_ * block_rows_ * NvidiaBertRowBytes(sequence_length(), predictions_);
}

int64_t NvidiaBertStore::PredictionsOf(int64_t block) const {
  return headers_[places_[static_cast<size_t>(block)].file].predictions;
}

absl::StatusOr<const NvidiaBertRows*> NvidiaBertStore::Block(int64_t block) {
  CHECK(block >= 0 && block < std::ssize(places_)) << block;
  Slot& slot = SlotFor(block);
  slot.last_use = ++uses_;
  if (slot.block == block) return &slot.rows;
  slot.block = -1;  // until all of it is there
  const auto [file, begin] = places_[static_cast<size_t>(block)];
  RETURN_IF_ERROR(ReadNvidiaBertRows(files_[file], headers_[file], limits_, begin,
                                     rows_of_block_[static_cast<size_t>(block)], &slot.rows));
  slot.block = block;
  ++blocks_read_;
  return &slot.rows;
}

// The slot that holds it, else an empty one, else the one that was used longest ago.
NvidiaBertStore::Slot& NvidiaBertStore::SlotFor(int64_t block) {
  for (Slot& slot : slots_) {
    if (slot.block == block) return slot;
  }
  if (std::ssize(slots_) < slot_limit_) return slots_.emplace_back();
  return *std::min_element(slots_.begin(), slots_.end(),
                           [](const Slot& a, const Slot& b) { return a.last_use < b.last_use; });
}

}  // namespace sluice
