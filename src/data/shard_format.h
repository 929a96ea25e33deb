// Names, types and versions of the token shards on disk: the single source for writer, reader and
// inspection. docs/formats/shard.md describes the files for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

// What is written. Version 1, which is read too, had no bos and eos, and one vocabulary file.
inline constexpr int64_t kShardFormatVersion = 2;
inline constexpr int64_t kManifestFormatVersion = 2;
inline constexpr char kManifestFileName[] = "manifest.yaml";
inline constexpr char kVocabularyFileName[] = "vocab.txt";       // of wordpiece
inline constexpr char kVocabularyJsonFileName[] = "vocab.json";  // of bpe, with
inline constexpr char kMergesFileName[] = "merges.txt";

namespace shard_format {

// Datasets, all one-dimensional, chunked, with HDF5's fletcher32 checksum.
inline constexpr char kTokens[] = "tokens";                     // u16 or u32 (tokens)
inline constexpr char kDocumentOffsets[] = "document_offsets";  // u64 (documents + 1)
inline constexpr char kRowOffsets[] = "row_offsets";            // u64 (rows + 1)

// Attributes of the root group: 64-bit integers but for the texts.
inline constexpr char kFormatVersion[] = "format_version";
inline constexpr char kTokenizerKind[] = "tokenizer";  // text: wordpiece or bpe
inline constexpr char kCased[] = "cased";              // 0 or 1
inline constexpr char kVocabularySize[] = "vocabulary_size";
inline constexpr char kPadId[] = "pad_id";  // special ids: -1 where the vocabulary has none
inline constexpr char kUnkId[] = "unk_id";
inline constexpr char kClsId[] = "cls_id";
inline constexpr char kSepId[] = "sep_id";
inline constexpr char kMaskId[] = "mask_id";
inline constexpr char kBosId[] = "bos_id";                        // since version 2
inline constexpr char kEosId[] = "eos_id";                        // since version 2
inline constexpr char kVocabularySha256[] = "vocabulary_sha256";  // text: 64 hex digits
inline constexpr char kTokenCount[] = "token_count";
inline constexpr char kDocumentCount[] = "document_count";
inline constexpr char kRowCount[] = "row_count";
inline constexpr char kXxh3[] = "xxh3";        // text: 16 hex digits; of the bytes of /tokens
inline constexpr char kCreator[] = "creator";  // text: program and version

// Vocabularies up to this size are stored as u16, larger ones as u32.
inline constexpr int64_t kLargestU16Vocabulary = 65536;

// One chunk is what a random read costs: small enough to be read for one sequence.
inline constexpr int64_t kChunkTokens = 16384;

}  // namespace shard_format

struct SpecialTokenIds {
  int32_t pad = -1;
  int32_t unk = -1;
  int32_t cls = -1;
  int32_t sep = -1;
  int32_t mask = -1;
  int32_t bos = -1;
  int32_t eos = -1;
  friend bool operator==(const SpecialTokenIds&, const SpecialTokenIds&) = default;
};

// Its ids with their names in shards and manifests.
struct SpecialTokenField {
  const char* name;
  int32_t SpecialTokenIds::*id;
  int64_t since_version;
};
inline constexpr SpecialTokenField kSpecialTokenFields[] = {
    {shard_format::kPadId, &SpecialTokenIds::pad, 1},
    {shard_format::kUnkId, &SpecialTokenIds::unk, 1},
    {shard_format::kClsId, &SpecialTokenIds::cls, 1},
    {shard_format::kSepId, &SpecialTokenIds::sep, 1},
    {shard_format::kMaskId, &SpecialTokenIds::mask, 1},
    {shard_format::kBosId, &SpecialTokenIds::bos, 2},
    {shard_format::kEosId, &SpecialTokenIds::eos, 2}};

// What made the ids. Two shards may be mixed only when these are equal.
struct TokenizerIdentity {
  std::string kind = "wordpiece";  // wordpiece or bpe
  bool cased = false;
  int64_t vocabulary_size = 0;
  SpecialTokenIds special{};
  std::string vocabulary_sha256;  // of the files' bytes, 64 hex digits
  friend bool operator==(const TokenizerIdentity&, const TokenizerIdentity&) = default;
};

struct ShardHeader {
  int64_t format_version = kShardFormatVersion;
  TokenizerIdentity tokenizer;
  int64_t token_count = 0;
  int64_t document_count = 0;
  int64_t row_count = 0;
  uint64_t xxh3 = 0;    // XXH3-64, seed 0, of the bytes of /tokens, little-endian
  int token_bytes = 2;  // 2 or 4
  std::string creator;
};

// The files of a vocabulary, in the order in which vocabulary_sha256 takes their bytes.
inline std::vector<std::string> VocabularyFileNames(const std::string& tokenizer_kind) {
  if (tokenizer_kind == "bpe") return {kVocabularyJsonFileName, kMergesFileName};
  return {kVocabularyFileName};
}

// 2 or 4: bytes of a token id below `vocabulary_size`.
inline int TokenBytesFor(int64_t vocabulary_size) {
  return vocabulary_size <= shard_format::kLargestU16Vocabulary ? 2 : 4;
}

}  // namespace sluice
