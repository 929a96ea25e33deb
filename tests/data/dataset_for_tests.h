// Small data sets of known tokens, for tests of everything that reads shards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/manifest.h"
#include "data/shard_format.h"

namespace sluice::testing {

using Row = std::vector<int32_t>;
using Document = std::vector<Row>;

// Writes a vocabulary of `size` pieces ([PAD] [UNK] [CLS] [SEP] [MASK] w5 w6 …) and returns its
// identity.
TokenizerIdentity WriteVocabulary(const std::string& path, int64_t size);

// `count` documents of 1 to 4 rows of [CLS] 0 to 40 words [SEP], from a seed.
std::vector<Document> RandomDocuments(int64_t count, int64_t vocabulary_size, uint64_t seed);

// Writes them to `folder`; aborts when that fails. A shard ends after `shard_tokens` tokens.
Manifest WriteDataset(const std::string& folder, const std::vector<Document>& documents,
                      int64_t vocabulary_size, int64_t shard_tokens = int64_t{32} << 20);

// All tokens of all documents.
std::vector<int32_t> Concatenate(const std::vector<Document>& documents);

// The n-th number of a fixed random sequence, in [0, bound).
int64_t RandomBelow(uint64_t seed, uint64_t n, int64_t bound);

}  // namespace sluice::testing
