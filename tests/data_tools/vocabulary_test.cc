// Vocabulary files, and how a tokenizer is loaded: what is refused, with which words.
#include "data_tools/text/vocabulary.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data_tools/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr char kSpecial[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
// printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngate\n' | sha256sum
constexpr char kGateSum[] = "4f27fe80614613982d0ebcfe8a737674c918da960ab1a4b392d8915874b53d2d";

std::string Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

void ExpectError(const absl::Status& status, ExitCode code, const std::string& words) {
  EXPECT_EQ(ExitCodeOf(status), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(VocabularyTest, ALinesNumberIsItsId) {
  const auto vocabulary = Vocabulary::FromBytes(absl::StrCat(kSpecial, "gate\n"), "v");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->size(), 6);
  EXPECT_EQ(vocabulary->Find("gate"), 5);
  EXPECT_EQ(vocabulary->Find("[MASK]"), 4);
  EXPECT_EQ(vocabulary->Find("gat"), -1);
  EXPECT_EQ(vocabulary->token(5), "gate");
  EXPECT_EQ(vocabulary->sha256(), kGateSum);
  EXPECT_FALSE(vocabulary->HasUpperCase());
  // The last line end may be missing; the sum is of the bytes.
  const auto open = Vocabulary::FromBytes(absl::StrCat(kSpecial, "Gate"), "v");
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_EQ(open->size(), 6);
  EXPECT_NE(open->sha256(), kGateSum);
  EXPECT_TRUE(open->HasUpperCase());
}

TEST(VocabularyTest, RefusesBadLinesWithTheirNumber) {
  const auto refuse = [](const std::string& bytes, const std::string& words) {
    ExpectError(Vocabulary::FromBytes(bytes, "v.txt").status(), ExitCode::kData, words);
  };
  refuse("", "vocabulary is empty: v.txt");
  refuse("a\n\nb\n", "empty line: v.txt:2");
  refuse("a\nb\n\n", "empty line: v.txt:3");
  refuse("a\r\nb\r\n", "carriage return (CR LF): store it with LF only: v.txt:1");
  refuse("a\nb\xFF\n", "not UTF-8: v.txt:2");
  refuse("a\n b\n", "white space: v.txt:2: \" b\"");
  refuse("a\nb\t\n", "white space: v.txt:2");
  refuse("a\nb\nc\nb\n", "there twice: v.txt:4: \"b\", first in line 2");
}

TEST(VocabularyTest, RefusesWhatCannotBeRead) {
  const TemporaryFolder folder;
  ExpectError(Vocabulary::Load(folder.path() + "/none").status(), ExitCode::kData,
              absl::StrCat("cannot open vocabulary: ", folder.path(), "/none: No such file"));
  ExpectError(Vocabulary::Load(folder.path()).status(), ExitCode::kData, "is a folder");
}

TEST(LoadTokenizerTest, AFileOrAFolderWithVocabTxt) {
  const TemporaryFolder folder;
  const std::string file = Write(folder.path() + "/vocab.txt", absl::StrCat(kSpecial, "gate\n"));
  for (const std::string& path : {file, folder.path()}) {
    const auto tokenizer = LoadTokenizer({.path = path});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_FALSE((*tokenizer)->cased());
    EXPECT_EQ((*tokenizer)->vocabulary_sha256(), kGateSum);
  }
  const auto cased = LoadTokenizer({.path = file, .cased = true});
  ASSERT_TRUE(cased.ok()) << cased.status();
  EXPECT_TRUE((*cased)->cased());
  Write(file, absl::StrCat(kSpecial, "Gate\n"));
  const auto guessed = LoadTokenizer({.path = file});
  ASSERT_TRUE(guessed.ok()) << guessed.status();
  EXPECT_TRUE((*guessed)->cased());
}

TEST(LoadTokenizerTest, RefusesMissingSpecialTokensAndUnknownKinds) {
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/vocab.txt";
  ExpectError(LoadTokenizer({.path = folder.path()}).status(), ExitCode::kData,
              "neither tokenizer.yaml nor vocab.txt nor vocab.json");
  for (const std::string missing : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    std::string bytes = kSpecial;
    bytes.replace(bytes.find(missing), missing.size(), "other");
    Write(file, bytes);
    ExpectError(LoadTokenizer({.path = file}).status(), ExitCode::kData,
                absl::StrCat("lacks a special token: ", file, ": ", missing, ", lines 5"));
  }
  Write(file, kSpecial);
  ExpectError(LoadTokenizer({.path = file, .kind = "sentencepiece"}).status(), ExitCode::kUsage,
              "\"sentencepiece\", known: wordpiece, bpe");
}

TEST(LoadTokenizerTest, HoldsTheVocabularyAgainstTokenizerYaml) {
  const TemporaryFolder folder;
  Write(folder.path() + "/vocab.txt", absl::StrCat(kSpecial, "gate\n"));
  const std::string yaml = folder.path() + "/tokenizer.yaml";
  const auto describe = [&](const std::string& kind, int size, const std::string& sum) {
    Write(yaml,
          absl::StrCat("kind: ", kind, "\ncased: true\nsize: ", size, "\nsha256: ", sum, "\n"));
  };
  const auto load = [&](TokenizerOptions options = {}) {
    options.path = folder.path();
    return LoadTokenizer(options);
  };
  describe("wordpiece", 6, kGateSum);
  const auto tokenizer = load();
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_TRUE((*tokenizer)->cased());  // as written, whatever the vocabulary suggests
  ExpectError(load({.path = "", .cased = false}).status(), ExitCode::kUsage, "true, false");
  ExpectError(load({.path = "", .kind = "byte_pair"}).status(), ExitCode::kUsage,
              "another kind than asked for");
  describe("byte_pair", 6, kGateSum);
  ExpectError(load().status(), ExitCode::kUsage, "\"byte_pair\", known: wordpiece, bpe");
  describe("wordpiece", 7, kGateSum);
  ExpectError(load().status(), ExitCode::kData, "size 7, tokens 6");
  describe("wordpiece", 6, std::string(64, '0'));
  ExpectError(load().status(), ExitCode::kData, "another sha256");
  Write(yaml, "kind: wordpiece\n");
  ExpectError(load().status(), ExitCode::kData, "needs kind, cased, size and sha256");
  Write(yaml, "kind: [\n");
  ExpectError(load().status(), ExitCode::kData, "tokenizer.yaml:");
  Write(yaml, "- a\n");
  ExpectError(load().status(), ExitCode::kData, "is not a map");
}

}  // namespace
}  // namespace sluice
