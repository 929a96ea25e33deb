#include "dataset_for_tests.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/philox.h"
#include "data/atomic_file.h"
#include "data/dataset_writer.h"
#include "data/vocabulary_file.h"

namespace sluice::testing {

int64_t RandomBelow(uint64_t seed, uint64_t n, int64_t bound) {
  const auto words = Philox(MakePhiloxKey(seed, RandomPurpose::kSampling, 0), PhiloxCounter(n, 0));
  return static_cast<int64_t>(UniformFromWord(words[0]) * static_cast<double>(bound));
}

TokenizerIdentity WriteVocabulary(const std::string& path, int64_t size) {
  std::string text = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
  for (int64_t id = 5; id < size; ++id) absl::StrAppend(&text, "w", id, "\n");
  CHECK_OK(WriteFileAtomically(path, text));
  const auto vocabulary = VocabularyFile::Read({path}, "wordpiece");
  CHECK_OK(vocabulary.status());
  CHECK_EQ(vocabulary->size(), size);
  return vocabulary->WordPieceIdentity(/*cased=*/false);
}

std::vector<Document> RandomDocuments(int64_t count, int64_t vocabulary_size, uint64_t seed) {
  uint64_t n = 0;
  const auto below = [&](int64_t bound) { return RandomBelow(seed, n++, bound); };
  std::vector<Document> documents(static_cast<size_t>(count));
  for (Document& document : documents) {
    document.resize(static_cast<size_t>(1 + below(4)));
    for (Row& row : document) {
      row = {2};
      for (int64_t words = below(41); words > 0; --words) {
        row.push_back(static_cast<int32_t>(5 + below(vocabulary_size - 5)));
      }
      row.push_back(3);
    }
  }
  return documents;
}

Manifest WriteDataset(const std::string& folder, const std::vector<Document>& documents,
                      int64_t vocabulary_size, int64_t shard_tokens) {
  const std::string vocabulary_path = absl::StrCat(folder, ".vocabulary");
  auto writer =
      DatasetWriter::Create({.folder = folder,
                             .vocabulary_paths = {vocabulary_path},
                             .tokenizer = WriteVocabulary(vocabulary_path, vocabulary_size),
                             .sources = {"a.txt"},
                             .shard_tokens = shard_tokens});
  CHECK_OK(writer.status());
  for (const Document& document : documents) {
    for (const Row& row : document) (*writer)->AppendRow(row);
    CHECK_OK((*writer)->EndDocument());
  }
  auto manifest = (*writer)->Finish();
  CHECK_OK(manifest.status());
  return *manifest;
}

std::vector<int32_t> Concatenate(const std::vector<Document>& documents) {
  std::vector<int32_t> all;
  for (const Document& document : documents) {
    for (const Row& row : document) all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

}  // namespace sluice::testing
