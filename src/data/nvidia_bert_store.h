// The rows of one or more files of NVIDIA's BERT layout, by blocks: runs of rows of one file, as
// many as HDF5 decompresses at a time. A bounded number of blocks stays in memory, those that were
// used last.
//
//   ASSIGN_OR_RETURN(NvidiaBertStore store, NvidiaBertStore::Open("data/phase1", limits));
//   store.KeepBlocks(8);
//   ASSIGN_OR_RETURN(const NvidiaBertRows* rows, store.Block(3));
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/nvidia_bert_file.h"

namespace sluice {

// The files that `path` stands for: itself; of a folder, all whose names end in .hdf5 or .h5, by
// name; of a list, a text file whose name ends in .txt, each line's file, relative to the list.
// DataError when there is none.
absl::StatusOr<std::vector<std::string>> NvidiaBertFiles(const std::string& path);

class NvidiaBertStore {
 public:
  // Opens and checks every file. DataError when one is missing or wrong, or two differ in the
  // length of their rows.
  static absl::StatusOr<NvidiaBertStore> Open(const std::string& path,
                                              const NvidiaBertLimits& limits);

  const std::vector<std::string>& files() const { return files_; }
  const std::vector<NvidiaBertHeader>& headers() const { return headers_; }
  int64_t sequence_length() const { return headers_.front().sequence_length; }
  int64_t predictions() const { return predictions_; }  // the most of any file
  int64_t rows() const;

  // Rows of each block; blocks lie in the order of the files.
  const std::vector<int64_t>& rows_of_block() const { return rows_of_block_; }
  // Rows of the largest block.
  int64_t block_rows() const { return block_rows_; }

  // How many blocks stay in memory: at least 1, and 1 until it is called.
  void KeepBlocks(int64_t blocks);
  int64_t memory_bytes() const;  // once they are there

  // Block `block`, read and checked if it is not in memory; valid until the next call.
  absl::StatusOr<const NvidiaBertRows*> Block(int64_t block);
  // Targets of a row of this block that its file has room for: the width of positions and targets.
  int64_t PredictionsOf(int64_t block) const;

  int64_t blocks_read() const { return blocks_read_; }  // from disk, so far

 private:
  struct Slot {
    int64_t block = -1;
    int64_t last_use = 0;
    NvidiaBertRows rows;
  };
  struct BlockPlace {
    size_t file;
    int64_t begin;  // row in the file
  };

  void CutBlocks();
  Slot& SlotFor(int64_t block);

  NvidiaBertLimits limits_;
  std::vector<std::string> files_;
  std::vector<NvidiaBertHeader> headers_;
  int64_t predictions_ = 0;
  int64_t block_rows_ = 1;
  std::vector<int64_t> rows_of_block_;  // (blocks)
  std::vector<BlockPlace> places_;      // (blocks)
  std::vector<Slot> slots_;
  int64_t slot_limit_ = 1;
  int64_t uses_ = 0;
  int64_t blocks_read_ = 0;
};

}  // namespace sluice
