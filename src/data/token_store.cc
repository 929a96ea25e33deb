#include "data/token_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/integer_math.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr int64_t kBlockTokens = shard_format::kChunkTokens;

}  // namespace

absl::StatusOr<TokenStore> TokenStore::Open(const Manifest& manifest, int64_t cache_bytes) {
  TokenStore store;
  ASSIGN_OR_RETURN(store.shards_, OpenShards(manifest));
  int64_t begin = 0, block = 0;
  for (const ShardReader& shard : store.shards_) {
    store.shard_begin_.push_back(begin);
    store.shard_first_block_.push_back(block);
    begin += shard.header().token_count;
    block += CeilDiv(shard.header().token_count, kBlockTokens);
  }
  store.shard_begin_.push_back(begin);
  store.token_bytes_ = store.shards_.front().header().token_bytes;
  store.slot_limit_ =
      std::clamp<int64_t>(cache_bytes / (kBlockTokens * store.token_bytes_), 1, block);
  CHECK_LE(store.slot_limit_, INT32_MAX);
  store.slot_of_block_.assign(static_cast<size_t>(block), -1);
  store.slots_.reserve(static_cast<size_t>(store.slot_limit_));
  return store;
}

int64_t TokenStore::cache_limit_bytes() const { return slot_limit_ * kBlockTokens * token_bytes_; }

absl::Status TokenStore::Read(int64_t begin, int64_t count, int32_t* ids) {
  CHECK(begin >= 0 && count >= 0 && begin <= token_count() - count)
      << "tokens " << begin << " + " << count << " of " << token_count();
  auto shard = static_cast<size_t>(
      std::upper_bound(shard_begin_.begin(), shard_begin_.end(), begin) - shard_begin_.begin() - 1);
  while (count > 0) {
    const int64_t in_shard = begin - shard_begin_[shard];
    const int64_t in_block = in_shard % kBlockTokens;
    const int64_t piece =
        std::min({count, kBlockTokens - in_block, shard_begin_[shard + 1] - begin});
    ASSIGN_OR_RETURN(const Slot* slot, Load(shard, in_shard / kBlockTokens));
    if (token_bytes_ == 2) {
      std::copy_n(reinterpret_cast<const uint16_t*>(slot->tokens.get()) + in_block, piece, ids);
    } else {
      std::copy_n(reinterpret_cast<const uint32_t*>(slot->tokens.get()) + in_block, piece, ids);
    }
    ids += piece;
    count -= piece;
    begin += piece;
    if (begin == shard_begin_[shard + 1]) ++shard;
  }
  return absl::OkStatus();
}

absl::StatusOr<const TokenStore::Slot*> TokenStore::Load(size_t shard, int64_t block_in_shard) {
  const auto block = static_cast<size_t>(shard_first_block_[shard] + block_in_shard);
  if (const int32_t index = slot_of_block_[block]; index >= 0) {
    Slot& slot = slots_[static_cast<size_t>(index)];
    slot.used_lately = true;
    return &slot;
  }
  const int32_t index = SlotToFill();
  Slot& slot = slots_[static_cast<size_t>(index)];
  const int64_t begin = block_in_shard * kBlockTokens;
  const int64_t count = std::min(kBlockTokens, shards_[shard].header().token_count - begin);
  RETURN_IF_ERROR(shards_[shard].ReadStoredTokens(begin, count, slot.tokens.get()));
  RETURN_IF_ERROR(CheckIds(shard, begin, count, slot));
  slot.block = static_cast<int64_t>(block);
  slot.used_lately = true;
  slot_of_block_[block] = index;
  ++blocks_read_;
  return &slot;
}

absl::Status TokenStore::CheckIds(size_t shard, int64_t begin, int64_t count,
                                  const Slot& slot) const {
  const auto largest = [count](const auto* ids) {
    return static_cast<int64_t>(*std::max_element(ids, ids + count));
  };
  const int64_t id = token_bytes_ == 2
                         ? largest(reinterpret_cast<const uint16_t*>(slot.tokens.get()))
                         : largest(reinterpret_cast<const uint32_t*>(slot.tokens.get()));
  const int64_t vocabulary_size = shards_[shard].header().tokenizer.vocabulary_size;
  if (id < vocabulary_size) return absl::OkStatus();
  return DataError("a token is not in the vocabulary", shards_[shard].path(),
                   absl::StrCat("id ", id, " among tokens ", begin, " to ", begin + count - 1,
                                ", vocabulary of ", vocabulary_size));
}

int32_t TokenStore::SlotToFill() {
  if (static_cast<int64_t>(slots_.size()) < slot_limit_) {
    slots_.push_back(
        {.tokens = std::make_unique<char[]>(static_cast<size_t>(kBlockTokens * token_bytes_))});
    return static_cast<int32_t>(slots_.size() - 1);
  }
  const auto next = [this] {
    const int32_t at = hand_;
    hand_ = static_cast<int32_t>((hand_ + 1) % slot_limit_);
    return at;
  };
  int32_t index = next();
  while (slots_[static_cast<size_t>(index)].used_lately) {
    slots_[static_cast<size_t>(index)].used_lately = false;
    index = next();
  }
  Slot& slot = slots_[static_cast<size_t>(index)];
  if (slot.block >= 0) slot_of_block_[static_cast<size_t>(slot.block)] = -1;
  slot.block = -1;
  return index;
}

absl::StatusOr<std::vector<int64_t>> TokenStore::DocumentOffsets() const {
  std::vector<int64_t> offsets;
  for (size_t s = 0; s < shards_.size(); ++s) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> in_shard, shards_[s].ReadDocumentOffsets());
    for (size_t i = 0; i + 1 < in_shard.size(); ++i) {
      offsets.push_back(shard_begin_[s] + in_shard[i]);
    }
  }
  offsets.push_back(token_count());
  return offsets;
}

absl::Status TokenStore::VisitRowOffsets(const std::function<void(int64_t)>& visit) const {
  for (size_t s = 0; s < shards_.size(); ++s) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> in_shard, shards_[s].ReadRowOffsets());
    for (size_t i = 0; i + 1 < in_shard.size(); ++i) visit(shard_begin_[s] + in_shard[i]);
  }
  visit(token_count());
  return absl::OkStatus();
}

}  // namespace sluice
