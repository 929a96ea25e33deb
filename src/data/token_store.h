// All tokens of a data set as one long array: the shards of a manifest, in its order, end to end.
// Random reads go through a bounded cache of blocks; a data set that fits is read from disk once.
//
//   ASSIGN_OR_RETURN(TokenStore store, TokenStore::Open(manifest, /*cache_bytes=*/512 << 20));
//   RETURN_IF_ERROR(store.Read(position, 128, ids.data()));
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/manifest.h"
#include "data/shard_reader.h"

namespace sluice {

class TokenStore {
 public:
  // Opens and checks every shard (OpenShards). The cache holds at least one block of
  // kChunkTokens tokens.
  static absl::StatusOr<TokenStore> Open(const Manifest& manifest, int64_t cache_bytes);

  int64_t token_count() const { return shard_begin_.back(); }

  // Tokens [begin, begin + count); the range must lie in the data set (CHECK). DataError when a
  // chunk is damaged or has an id that is not below the vocabulary's size.
  absl::Status Read(int64_t begin, int64_t count, int32_t* ids);

  // First positions of all documents (rows), rising, and the token count as one more.
  absl::StatusOr<std::vector<int64_t>> DocumentOffsets() const;
  // Calls visit(position) for the first position of each row, and for the token count.
  absl::Status VisitRowOffsets(const std::function<void(int64_t)>& visit) const;

  int64_t blocks_read() const { return blocks_read_; }  // from disk, so far
  // Of tokens in memory once the cache is full.
  int64_t cache_limit_bytes() const;

 private:
  struct Slot {
    int64_t block = -1;
    bool used_lately = false;
    std::unique_ptr<char[]> tokens;
  };

  // The slot that holds `block` of shard `shard`, read if need be.
  absl::StatusOr<const Slot*> Load(size_t shard, int64_t block_in_shard);
  // DataError when one of the tokens in `slot`, [begin, begin + count) of a shard, has no place in
  // the vocabulary: tables are read and written there without another look.
  absl::Status CheckIds(size_t shard, int64_t begin, int64_t count, const Slot& slot) const;
  int32_t SlotToFill();

  std::vector<ShardReader> shards_;
  std::vector<int64_t> shard_begin_;        // (shards + 1): first position of each
  std::vector<int64_t> shard_first_block_;  // (shards)
  std::vector<int32_t> slot_of_block_;      // -1: not in memory
  std::vector<Slot> slots_;
  int64_t slot_limit_ = 1;
  int32_t hand_ = 0;  // of the clock that picks the slot to give up
  int token_bytes_ = 2;
  int64_t blocks_read_ = 0;
};

}  // namespace sluice
