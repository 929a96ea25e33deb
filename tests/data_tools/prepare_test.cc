// Prepare: rows and documents of each mode, determinism, and texts that are wrong.
#include "data_tools/prepare.h"

#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "data/byte_alphabet.h"
#include "data/content_hash.h"
#include "data_tools/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kVocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\n##s\nmat\non\n.\na\nb\n";

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() { Write("vocab.txt", kVocabulary); }

  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  std::string Write(const std::string& name, const std::string& bytes) const {
    EXPECT_TRUE(WriteFileAtomically(Path(name), bytes).ok());
    return Path(name);
  }
  PrepareOptions Options(const std::string& out, std::vector<std::string> texts) const {
    PrepareOptions options;
    options.vocabulary = Path("vocab.txt");
    options.folder = Path(out);
    options.texts = std::move(texts);
    return options;
  }
  static absl::StatusOr<PrepareSummary> Run(const PrepareOptions& options) {
    return Prepare(options);
  }
  // Rows as decoded texts, "|" between rows, "||" between documents.
  std::string Read(const std::string& out) const {
    const auto manifest = ReadManifest(Path(out));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    const auto shards = OpenShards(*manifest);
    EXPECT_TRUE(shards.ok()) << shards.status();
    const auto tokenizer = LoadTokenizer({.path = Path("vocab.txt")});
    std::string text;
    for (const ShardReader& shard : *shards) {
      EXPECT_TRUE(shard.Verify().ok());
      const auto documents = *shard.ReadDocumentOffsets();
      const auto rows = *shard.ReadRowOffsets();
      const std::set<int64_t> ends(documents.begin(), documents.end());
      for (size_t r = 0; r + 1 < rows.size(); ++r) {
        std::vector<int32_t> ids(static_cast<size_t>(rows[r + 1] - rows[r]));
        EXPECT_TRUE(shard.ReadTokens(rows[r], static_cast<int64_t>(ids.size()), ids.data()).ok());
        for (int32_t id : ids) absl::StrAppend(&text, (*tokenizer)->TokenText(id), " ");
        text.append(ends.contains(rows[r + 1]) ? "|| " : "| ");
      }
    }
    return text;
  }
  void ExpectError(const PrepareOptions& options, ExitCode code, const std::string& message) const {
    const auto summary = Run(options);
    EXPECT_EQ(ExitCodeOf(summary.status()), code) << summary.status();
    EXPECT_THAT(std::string(summary.status().message()), HasSubstr(message));
    EXPECT_FALSE(fs::exists(options.folder + "/manifest.yaml"));
  }

  TemporaryFolder folder_;
};

TEST_F(PrepareTest, RowModes) {
  const std::string text = Write("t.txt", "The cats.\nA mat\n\n\n \nB\n");
  PrepareOptions options = Options("d", {text});
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(Read("d"), "[CLS] the cat ##s . a mat [SEP] || [CLS] b [SEP] || ");
  options = Options("p", {text});
  options.row = "paragraph";
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(Read("p"), "[CLS] the cat ##s . [SEP] | [CLS] a mat [SEP] || [CLS] b [SEP] || ");
  options = Options("l", {text});
  options.row = "line";
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(Read("l"), "[CLS] the cat ##s . [SEP] || [CLS] a mat [SEP] || [CLS] b [SEP] || ");
}

// A vocabulary of the bytes alone, of OPT's or GPT-2's kind.
void WriteBytePairFolder(const std::string& folder, const std::vector<std::string>& special) {
  fs::create_directory(folder);
  nlohmann::json json = nlohmann::json::object();
  for (const std::string& token : special) json[token] = json.size();
  for (int byte = 0; byte < 256; ++byte) {
    json[ByteCharacter(static_cast<uint8_t>(byte))] = json.size();
  }
  EXPECT_TRUE(WriteFileAtomically(folder + "/vocab.json", json.dump()).ok());
  EXPECT_TRUE(WriteFileAtomically(folder + "/merges.txt", "#version: 0.2\n").ok());
}

TEST_F(PrepareTest, BytePairRows) {
  const std::string text = Write("t.txt", "ab\n  c\xFF\n\n\n \nd\n");
  const auto rows = [&](const std::string& kind, const std::string& row) {
    const std::string out = absl::StrCat(kind, row);
    PrepareOptions options = Options(out, {text});
    options.tokenizer = "bpe";
    options.vocabulary = Path(kind);
    options.row = row;
    const auto summary = Run(options);
    EXPECT_TRUE(summary.ok()) << summary.status();
    const auto manifest = ReadManifest(Path(out));
    EXPECT_TRUE(manifest.ok()) << manifest.status();
    const auto tokenizer = LoadTokenizer({.path = Path(out)});  // the copied vocabulary
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto shards = OpenShards(*manifest);
    EXPECT_TRUE(shards.ok()) << shards.status();
    const ShardReader& shard = shards->front();
    std::vector<int32_t> ids(static_cast<size_t>(shard.header().token_count));
    EXPECT_TRUE(shard.ReadTokens(0, shard.header().token_count, ids.data()).ok());
    EXPECT_EQ(SummaryText(*summary).find("[UNK]"), std::string::npos);
    return (*tokenizer)->Decode(ids);
  };
  WriteBytePairFolder(Path("opt"), {"<s>", "<pad>", "</s>", "<unk>"});
  WriteBytePairFolder(Path("gpt2"), {"<|endoftext|>"});
  // Paragraphs of a document keep their line ends.
  EXPECT_EQ(rows("opt", "document"), "</s>ab\n  c\uFFFD</s>d");
  EXPECT_EQ(rows("opt", "paragraph"), "</s>ab</s>  c\uFFFD</s>d");
  EXPECT_EQ(rows("opt", "line"), "</s>ab</s>  c\uFFFD</s> </s>d");
  EXPECT_EQ(rows("gpt2", "document"), "ab\n  c\uFFFD<|endoftext|>d<|endoftext|>");
  const auto manifest = ReadManifest(Path("optdocument"));
  EXPECT_EQ(manifest->tokenizer.kind, "bpe");
  EXPECT_TRUE(manifest->tokenizer.cased);
  EXPECT_EQ(manifest->tokenizer.special, (SpecialTokenIds{.pad = 1, .unk = 3, .bos = 2, .eos = 2}));
  EXPECT_EQ(manifest->tokenizer.vocabulary_size, 260);
}

TEST_F(PrepareTest, SummaryCounts) {
  const std::string one = Write("1.txt", "the zebra\xFF sat\n");
  const std::string two = Write("2.txt", "a b\n\nb\n");
  const auto summary = Run(Options("out", {one, two}));
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->manifest.total_documents(), 3);
  EXPECT_EQ(summary->manifest.total_rows(), 3);
  EXPECT_EQ(summary->manifest.total_tokens(), 6 + 6);
  EXPECT_EQ(summary->unknown_tokens, 1);
  EXPECT_EQ(summary->invalid_sequences, 1);
  EXPECT_EQ(summary->text_bytes, 22);
  EXPECT_EQ(summary->manifest.sources, (std::vector<std::string>{one, two}));
  EXPECT_EQ(summary->manifest.tokenizer.special.mask, 4);
  const std::string text = SummaryText(*summary);
  EXPECT_THAT(text, HasSubstr("tokens            12, [CLS] and [SEP] included\n"));
  EXPECT_THAT(text, HasSubstr("[UNK]             1 (8.3333 %"));
  EXPECT_THAT(text, HasSubstr("ill-formed UTF-8  1 sequences"));
  EXPECT_EQ(*ReadWholeFile(Path("out/vocab.txt")), kVocabulary);
}

// About 17 MB, so that several pieces are read while others are tokenized.
std::string LongText() {
  const char* words[] = {"the ", "cat ", "sat ", "on ", "mats ", "a ", "b ", "cats.\n", "mat\n\n"};
  std::string text;
  uint64_t state = 1;
  while (text.size() < 17'500'000) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text.append(words[(state >> 33) % 9]);
  }
  return text;
}

TEST_F(PrepareTest, TheNumberOfThreadsChangesNoByte) {
  const std::string text = Write("t.txt", LongText());
  std::set<std::string> hashes;
  for (int threads : {1, 3}) {
    PrepareOptions options = Options(absl::StrCat("out", threads), {text});
    options.threads = threads;
    options.shard_tokens = 2'000'000;
    const auto summary = Run(options);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_GT(summary->manifest.shards.size(), 2u);
    std::string all;
    for (const ManifestShard& shard : summary->manifest.shards) {
      absl::StrAppend(&all, *ReadWholeFile(summary->manifest.Beside(shard.file)));
    }
    hashes.insert(Sha256Text(all));
  }
  EXPECT_EQ(hashes.size(), 1u);
}

TEST_F(PrepareTest, WhatCannotWork) {
  const std::string text = Write("t.txt", "the cat\n");
  PrepareOptions options = Options("out", {text});
  options.tokenizer = "sentencepiece";
  ExpectError(options, ExitCode::kUsage, "known: wordpiece, bpe");
  options = Options("out", {text});
  options.row = "page";
  ExpectError(options, ExitCode::kUsage, "known: document, paragraph, line");
  options = Options("out", {text});
  options.shard_tokens = 0;
  ExpectError(options, ExitCode::kUsage, "--shard-tokens");
  options = Options("out", {text});
  options.vocabulary = Path("none.txt");
  ExpectError(options, ExitCode::kData, "none.txt");
  ExpectError(Options("t.txt/out", {text}), ExitCode::kDevice, "cannot make the output folder");
  ExpectError(Options("out", {Path("missing.txt")}), ExitCode::kData, "missing.txt");
  ExpectError(Options("out", {folder_.path()}), ExitCode::kData, folder_.path());
  ExpectError(Options("empty", {Write("e.txt", "")}), ExitCode::kData, "the text has no words");
  ExpectError(Options("blank", {Write("b.txt", " \n\n\n")}), ExitCode::kData,
              "the text has no words");
  const std::string damaged = std::string(
                                  "\xFD"
                                  "7zXZ") +
                              '\0' + " not really";
  ExpectError(Options("xz", {Write("t.xz", damaged)}), ExitCode::kData, "t.xz");
}

TEST_F(PrepareTest, RefusesToOverwriteUnlessTold) {
  const std::string text = Write("t.txt", "the cat\n");
  PrepareOptions options = Options("out", {text});
  ASSERT_TRUE(Run(options).ok());
  options.texts = {Write("u.txt", "a b\n")};
  EXPECT_EQ(ExitCodeOf(Run(options).status()), ExitCode::kUsage);
  EXPECT_EQ(Read("out"), "[CLS] the cat [SEP] || ");
  options.overwrite = true;
  ASSERT_TRUE(Run(options).ok());
  EXPECT_EQ(Read("out"), "[CLS] a b [SEP] || ");
}

TEST_F(PrepareTest, ProgressSpeaksOfTheText) {
  std::vector<std::string> lines;
  PrepareOptions options = Options("out", {Write("t.txt", "the cat\n")});
  options.progress_seconds = 0;
  options.progress = [&](absl::string_view line) { lines.emplace_back(line); };
  ASSERT_TRUE(Run(options).ok());
  ASSERT_EQ(lines.size(), 1u);  // one piece of text
  EXPECT_THAT(lines[0], HasSubstr("0 MB of text, 0.0 M tokens, "));
}

}  // namespace
}  // namespace sluice::testing
