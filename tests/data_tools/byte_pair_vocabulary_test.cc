// vocab.json and merges.txt: what is refused, with file and line; folders, and tokenizer.yaml.
#include "data_tools/text/byte_pair_vocabulary.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/error.h"
#include "data/byte_alphabet.h"
#include "data/content_hash.h"
#include "data_tools/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr char kMerges[] = "#version: 0.2\nh e\nhe r\n";

// One token a line: </s> and <pad>, the bytes from line 4, he (258), her (259).
std::string VocabularyJson() {
  std::string text = "{\n\"</s>\": 0,\n\"<pad>\": 1";
  for (int byte = 0; byte < 256; ++byte) {
    const nlohmann::json character = ByteCharacter(static_cast<uint8_t>(byte));
    absl::StrAppend(&text, ",\n", character.dump(), ": ", 2 + byte);
  }
  return absl::StrCat(text, ",\n\"he\": 258,\n\"her\": 259\n}\n");
}

void ExpectError(const absl::Status& status, ExitCode code, const std::string& words) {
  EXPECT_EQ(ExitCodeOf(status), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

absl::StatusOr<BytePairVocabulary> Read(const std::string& vocabulary, const std::string& merges) {
  return BytePairVocabulary::FromBytes({"v.json", vocabulary}, {"m.txt", merges});
}

TEST(BytePairVocabularyTest, TokensById) {
  const auto vocabulary = Read(VocabularyJson(), kMerges);
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  ASSERT_EQ(vocabulary->tokens.size(), 260u);
  EXPECT_EQ(vocabulary->tokens[1], "<pad>");
  EXPECT_EQ(vocabulary->tokens[2 + ' '], "\u0120");
  EXPECT_EQ(vocabulary->Find("her"), 259);
  EXPECT_EQ(vocabulary->Find("she"), -1);
  ASSERT_EQ(vocabulary->merges.size(), 2u);
  EXPECT_EQ(vocabulary->merges[1].first, 258);
  EXPECT_EQ(vocabulary->merges[1].second, 2 + 'r');
  EXPECT_EQ(vocabulary->merges[1].merged, 259);
  EXPECT_EQ(vocabulary->sha256, Sha256Text(absl::StrCat(VocabularyJson(), kMerges)));
  // The last line end may be missing, and there may be no merge at all.
  EXPECT_EQ(Read(VocabularyJson(), "#version: 0.2\nh e")->merges.size(), 1u);
  EXPECT_EQ(Read(VocabularyJson(), "#version: 0.2")->merges.size(), 0u);
  EXPECT_EQ(Read(VocabularyJson(), "#version: 0.2 - Trained by `someone`\nh e\n")->merges.size(),
            1u);
}

TEST(BytePairVocabularyTest, RefusesABadVocabulary) {
  const auto refuse = [](const std::string& from, const std::string& to, const std::string& words) {
    const std::string good = VocabularyJson();
    ASSERT_THAT(good, HasSubstr(from));
    ExpectError(Read(absl::StrReplaceAll(good, {{from, to}}), kMerges).status(), ExitCode::kData,
                words);
  };
  refuse("\"he\": 258", "\"he\": 258]", "vocabulary is not JSON: v.json:260: ");
  refuse("\n}\n", "\n", "vocabulary is not JSON: v.json:262: ");
  refuse("\"<pad>\": 1", "\"<\xFF>\": 1", "vocabulary is not JSON: v.json:3: ");
  refuse("\"he\": 258", "\"</s>\": 258", "token is there twice: v.json:260: \"</s>\": 0 and 258");
  refuse("\"he\": 258", "\"he\": 1", "two tokens have one id: v.json:260: 1: \"<pad>\" and \"he\"");
  refuse("\"her\": 259", "\"her\": 260", "no token with an id below the largest: v.json: id 259");
  refuse("\"her\": 259", "\"her\": -1", "an id below 0: v.json:261: -1");
  refuse("\"her\": 259", "\"her\": 4294967296", "too large: v.json:261: 4294967296");
  refuse("\"her\": 259", "\"her\": 1.5", "not a whole number: v.json:261: \"her\": 1.5");
  refuse("\"her\": 259", "\"her\": \"x\"", "not a whole number: v.json:261: \"her\": \"x\"");
  refuse("\"her\": 259", "\"her\": [259]", "not a whole number: v.json:261: \"her\": a list");
  refuse("\"her\": 259", "\"her\": {\"a\": 259}", "whole number: v.json:261: \"her\": an object");
  refuse("\"her\": 259", "\"her\": null", "not a whole number: v.json:261: \"her\": null");
  refuse("\"her\": 259", "\"her\": true", "not a whole number: v.json:261: \"her\": a truth value");
  refuse("\"\u0120\"", "\"other\"", "no token for a byte: v.json: 0x20, \"\u0120\"");
  ExpectError(Read("", kMerges).status(), ExitCode::kData, "vocabulary is empty: v.json");
  ExpectError(Read("{}", kMerges).status(), ExitCode::kData, "vocabulary is empty: v.json");
  ExpectError(Read("[]", kMerges).status(), ExitCode::kData,
              "vocabulary is not an object of tokens and ids: v.json:1: a list");
  ExpectError(Read("7", kMerges).status(), ExitCode::kData, "not an object of tokens and ids");
  ExpectError(Read("\n\n nonsense", kMerges).status(), ExitCode::kData, "not JSON: v.json:3");
}

TEST(BytePairVocabularyTest, RefusesBadMerges) {
  const auto refuse = [](const std::string& merges, const std::string& words) {
    ExpectError(Read(VocabularyJson(), merges).status(), ExitCode::kData, words);
  };
  refuse("", "merges are empty: m.txt");
  refuse("h e\n", "do not begin with the line \"#version: 0.2\": m.txt:1: \"h e\"");
  refuse("#version: 0.3\nh e\n", "m.txt:1: \"#version: 0.3\"");
  refuse("#version: 0.2\r\nh e\r\n", "m.txt:1: \"#version: 0.2\r\"");
  refuse("#version: 0.2\nh e\r\n", "carriage return (CR LF): store it with LF only: m.txt:2");
  refuse("#version: 0.2\nh \xFF\n", "merges line is not UTF-8: m.txt:2");
  for (const char* line : {"he", "h  e", " e", "h ", "h e r", ""}) {
    refuse(absl::StrCat("#version: 0.2\nh e\n", line, "\n"),
           absl::StrCat("not two tokens with one space between: m.txt:3: \"", line, "\""));
  }
  refuse("#version: 0.2\nh e\nsh e\n", "a token that the vocabulary lacks: m.txt:3: \"sh\"");
  refuse("#version: 0.2\nh e\nh es\n", "a token that the vocabulary lacks: m.txt:3: \"es\"");
  refuse("#version: 0.2\ns h\n", "merge makes a token that the vocabulary lacks: m.txt:2: \"sh\"");
}

TEST(ByteAlphabetTest, IsThatOfGpt2) {
  EXPECT_EQ(ByteCharacter('!'), "!");
  EXPECT_EQ(ByteCharacter('~'), "~");
  EXPECT_EQ(ByteCharacter(0), "\u0100");
  EXPECT_EQ(ByteCharacter('\n'), "\u010a");
  EXPECT_EQ(ByteCharacter(' '), "\u0120");
  EXPECT_EQ(ByteCharacter(0x7F), "\u0121");
  EXPECT_EQ(ByteCharacter(0xA0), "\u0142");
  EXPECT_EQ(ByteCharacter(0xA1), "\u00a1");
  EXPECT_EQ(ByteCharacter(0xAD), "\u0143");
  EXPECT_EQ(ByteCharacter(0xFF), "\u00ff");
  std::string all, characters;
  for (int byte = 0; byte < 256; ++byte) {
    all.push_back(static_cast<char>(byte));
    characters += ByteCharacter(static_cast<uint8_t>(byte));
  }
  EXPECT_EQ(BytesOfToken(characters), all);
  EXPECT_EQ(BytesOfToken(""), "");
  for (const char* foreign : {" ", "\u0144", "\u00ad", "\u4e2d", "\xC4"}) {
    EXPECT_EQ(BytesOfToken(foreign), std::nullopt) << foreign;
  }
}

class LoadBytePairTest : public ::testing::Test {
 protected:
  LoadBytePairTest() {
    Write("vocab.json", VocabularyJson());
    Write("merges.txt", kMerges);
  }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_.path() + "/" + name, std::ios::binary) << bytes;
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load(TokenizerOptions options = {}) {
    options.path = folder_.path();
    return LoadTokenizer(options);
  }
  TemporaryFolder folder_;
};

TEST_F(LoadBytePairTest, AFolderWithBothFiles) {
  for (const char* kind : {"", "bpe"}) {
    const auto tokenizer = Load({.path = "", .kind = kind});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->kind(), "bpe");
    EXPECT_EQ((*tokenizer)->Row("her"), (std::vector<int32_t>{0, 259}));
    EXPECT_EQ((*tokenizer)->vocabulary_sha256(),
              Sha256Text(absl::StrCat(VocabularyJson(), kMerges)));
  }
  ExpectError(Load({.path = "", .cased = false}).status(), ExitCode::kUsage, "always cased");
  ExpectError(LoadTokenizer({.path = folder_.path() + "/vocab.json", .kind = "bpe"}).status(),
              ExitCode::kUsage, "is a folder with vocab.json and merges.txt");
  EXPECT_EQ(
      VocabularyPaths(folder_.path(), "bpe"),
      (std::vector<std::string>{folder_.path() + "/vocab.json", folder_.path() + "/merges.txt"}));
  std::filesystem::remove(folder_.path() + "/merges.txt");
  ExpectError(Load().status(), ExitCode::kData, "merges.txt");
}

TEST_F(LoadBytePairTest, TwoKindsInOneFolder) {
  Write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nher\n");
  ExpectError(Load().status(), ExitCode::kData, "vocabularies of two kinds: say which one");
  EXPECT_EQ((*Load({.path = "", .kind = "bpe"}))->kind(), "bpe");
  EXPECT_EQ((*Load({.path = "", .kind = "wordpiece"}))->kind(), "wordpiece");
}

TEST_F(LoadBytePairTest, HoldsTheFilesAgainstTokenizerYaml) {
  const std::string sum = Sha256Text(absl::StrCat(VocabularyJson(), kMerges));
  const auto describe = [&](int size, const std::string& sha256) {
    Write("tokenizer.yaml",
          absl::StrCat("kind: bpe\ncased: true\nsize: ", size, "\nsha256: ", sha256, "\n"));
  };
  describe(260, sum);
  EXPECT_TRUE(Load().ok()) << Load().status();
  ExpectError(Load({.path = "", .kind = "wordpiece"}).status(), ExitCode::kUsage,
              "another kind than asked for");
  describe(261, sum);
  ExpectError(Load().status(), ExitCode::kData, "size 261, tokens 260");
  describe(260, sum);
  Write("merges.txt", "#version: 0.2\nh e\n");
  ExpectError(Load().status(), ExitCode::kData, "another sha256");
}

}  // namespace
}  // namespace sluice
