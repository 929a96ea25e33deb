// Byte-level BPE by hand: merges in their order, special tokens, rows, decoding.
#include "data_tools/text/byte_pair.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/byte_alphabet.h"
#include "data_tools/text/utf8.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<int32_t>;

// `special`, then byte b as first + b, then what the merges make.
struct Made {
  std::vector<std::string> tokens;
  std::string merges = "#version: 0.2\n";

  explicit Made(std::vector<std::string> special) : tokens(std::move(special)) {
    for (int byte = 0; byte < 256; ++byte) {
      tokens.push_back(ByteCharacter(static_cast<uint8_t>(byte)));
    }
  }
  Made& Merge(const std::string& first, const std::string& second) {
    absl::StrAppend(&merges, first, " ", second, "\n");
    if (std::find(tokens.begin(), tokens.end(), first + second) == tokens.end()) {
      tokens.push_back(first + second);
    }
    return *this;
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load(BytePairOptions options = {}) const {
    nlohmann::json json;
    for (const std::string& token : tokens) json[token] = json.size();
    auto vocabulary = BytePairVocabulary::FromBytes({"v.json", json.dump()}, {"m.txt", merges});
    EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
    return BytePairTokenizer::Create(*std::move(vocabulary), options);
  }
};

constexpr int32_t kFirstByte = 4, kFirstMerged = kFirstByte + 256;
constexpr int32_t kBos = 2, kPad = 1;

Made Opt() { return Made({"<s>", "<pad>", "</s>", "<unk>"}); }
// Merged: 260 ga, 261 te, 262 gate, 263 Ġgate, 264 Ġg, 265 ate, 266 aa
Made OptWithMerges() {
  return Opt()
      .Merge("g", "a")
      .Merge("t", "e")
      .Merge("ga", "te")
      .Merge("\u0120", "gate")
      .Merge("\u0120", "g")
      .Merge("a", "te")
      .Merge("a", "a");
}

std::unique_ptr<Tokenizer> Make(const Made& made, BytePairOptions options = {}) {
  auto tokenizer = made.Load(options);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

Ids Tokenize(const Tokenizer& tokenizer, absl::string_view text) {
  Ids ids;
  tokenizer.Tokenize(text, &ids);
  return ids;
}

int32_t Byte(char c) { return kFirstByte + static_cast<uint8_t>(c); }

TEST(BytePairTest, MergesTheSmallestRankFirst) {
  const auto tokenizer = Make(OptWithMerges());
  EXPECT_THAT(Tokenize(*tokenizer, "gate"), ElementsAre(262));
  // "Ġ gate" has a smaller rank than "Ġ g", which therefore never comes into play here,
  EXPECT_THAT(Tokenize(*tokenizer, " gate"), ElementsAre(263));
  // but here: no "te". "ga" comes first, and "Ġ" then stands alone.
  EXPECT_THAT(Tokenize(*tokenizer, " gat"), ElementsAre(Byte(' '), 260, Byte('t')));
  EXPECT_THAT(Tokenize(*tokenizer, " got"), ElementsAre(264, Byte('o'), Byte('t')));
  EXPECT_THAT(Tokenize(*tokenizer, "late"), ElementsAre(Byte('l'), 265));
  EXPECT_THAT(Tokenize(*tokenizer, ""), IsEmpty());
}

TEST(BytePairTest, EqualPairsAreMergedFromTheLeft) {
  const auto tokenizer = Make(OptWithMerges());
  EXPECT_THAT(Tokenize(*tokenizer, "aaa"), ElementsAre(266, Byte('a')));
  EXPECT_THAT(Tokenize(*tokenizer, "aaaa"), ElementsAre(266, 266));
  // "ate" (rank 5) goes before "aa" (rank 6).
  EXPECT_THAT(Tokenize(*tokenizer, "aaate"), ElementsAre(266, 265));
  EXPECT_THAT(Tokenize(*tokenizer, "aate"), ElementsAre(Byte('a'), 265));
}

TEST(BytePairTest, WordsAreNotMergedAcross) {
  const auto tokenizer = Make(Opt().Merge("a", "1").Merge("\u0120", "\u0120"));
  EXPECT_THAT(Tokenize(*tokenizer, "a1"), ElementsAre(Byte('a'), Byte('1')));
  EXPECT_THAT(Tokenize(*tokenizer, "  a"), ElementsAre(Byte(' '), Byte(' '), Byte('a')));
  EXPECT_THAT(Tokenize(*tokenizer, "   a"), ElementsAre(kFirstMerged + 1, Byte(' '), Byte('a')));
}

TEST(BytePairTest, APairThatIsThereTwiceCountsWhereItIsLast) {
  const auto tokenizer =
      Make(Opt().Merge("a", "b").Merge("b", "c").Merge("x", "y").Merge("a", "b"));
  EXPECT_THAT(Tokenize(*tokenizer, "abc"), ElementsAre(Byte('a'), kFirstMerged + 1));
}

// All merges of a word by definition: each time the leftmost pair of the smallest rank.
Ids CutByDefinition(const Made& made, const std::string& word) {
  std::map<std::string, size_t> rank_of;
  size_t rank = 0;
  for (size_t at = made.merges.find('\n') + 1; at < made.merges.size();) {
    const size_t end = made.merges.find('\n', at);
    rank_of[made.merges.substr(at, end - at)] = rank++;
    at = end + 1;
  }
  std::vector<std::string> pieces;
  for (const char c : word) pieces.push_back(ByteCharacter(static_cast<uint8_t>(c)));
  while (true) {
    size_t best = rank, at = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto found = rank_of.find(absl::StrCat(pieces[i], " ", pieces[i + 1]));
      if (found != rank_of.end() && found->second < best) best = found->second, at = i;
    }
    if (best == rank) break;
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<int64_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& piece : pieces) {
    const auto found = std::find(made.tokens.begin(), made.tokens.end(), piece);
    ids.push_back(static_cast<int32_t>(found - made.tokens.begin()));
  }
  return ids;
}

TEST(BytePairTest, EqualsTheDefinitionOnRandomMergesAndLengths) {
  std::mt19937 generator(5);
  int64_t merged = 0;
  for (int round = 0; round < 40; ++round) {
    Made made = Opt();
    std::vector<std::string> parts = {"a", "b", "c"};
    for (int i = 0; i < 30; ++i) {
      const std::string first = parts[generator() % parts.size()];
      const std::string second = parts[generator() % parts.size()];
      made.Merge(first, second);
      parts.push_back(first + second);
    }
    const auto tokenizer = Make(made);
    for (const size_t length : {1, 2, 3, 7, 20, 47, 48, 49, 50, 200}) {
      std::string word(length, 'a');
      for (char& c : word) c = static_cast<char>('a' + generator() % 3);
      const Ids ids = Tokenize(*tokenizer, word);
      ASSERT_EQ(ids, CutByDefinition(made, word)) << word << "\n" << made.merges;
      merged += static_cast<int64_t>(length - ids.size());
    }
  }
  EXPECT_GT(merged, 5000);
}

TEST(BytePairTest, LongWordsDoNotTakeQuadraticTime) {
  const auto tokenizer = Make(OptWithMerges());
  const Ids ids = Tokenize(*tokenizer, std::string(2'000'000, 'a'));  // hours if it did
  EXPECT_EQ(ids, Ids(1'000'000, 266));
}

TEST(BytePairTest, OptsSpecialTokensAndRows) {
  const auto tokenizer = Make(OptWithMerges());
  EXPECT_EQ(tokenizer->kind(), "bpe");
  EXPECT_TRUE(tokenizer->cased());
  EXPECT_EQ(tokenizer->vocabulary_size(), 267);
  EXPECT_EQ(tokenizer->special().pad, kPad);
  EXPECT_EQ(tokenizer->special().unk, 3);
  EXPECT_EQ(tokenizer->special().bos, kBos);
  EXPECT_EQ(tokenizer->special().eos, kBos);
  EXPECT_EQ(tokenizer->special().cls, -1);
  EXPECT_EQ(tokenizer->special().sep, -1);
  EXPECT_EQ(tokenizer->special().mask, -1);
  EXPECT_THAT(tokenizer->Row("gate"), ElementsAre(kBos, 262));
  EXPECT_THAT(tokenizer->Row(""), ElementsAre(kBos));
  EXPECT_EQ(tokenizer->paragraph_separator(), "\n");
  EXPECT_EQ(tokenizer->TokenText(263), "\u0120gate");
  EXPECT_TRUE(tokenizer->ContinuesWord(262));
  EXPECT_FALSE(tokenizer->ContinuesWord(263));
  EXPECT_FALSE(tokenizer->ContinuesWord(Byte('.')));
  EXPECT_FALSE(tokenizer->ContinuesWord(Byte('\n')));
  EXPECT_FALSE(tokenizer->ContinuesWord(kBos));
}

TEST(BytePairTest, Gpt2sSpecialTokenAndRows) {
  const auto tokenizer = Make(Made({"<|endoftext|>"}));
  EXPECT_EQ(tokenizer->special().bos, 0);
  EXPECT_EQ(tokenizer->special().eos, 0);
  EXPECT_EQ(tokenizer->special().pad, -1);
  EXPECT_EQ(tokenizer->special().unk, -1);
  EXPECT_THAT(tokenizer->Row("a"), ElementsAre(1 + 'a', 0));
  EXPECT_THAT(Tokenize(*tokenizer, "a<|endoftext|>a"), ElementsAre(1 + 'a', 0, 1 + 'a'));
  // OPT's vocabulary has this token too.
  const auto opt = Make(Made({"<s>", "<pad>", "</s>", "<unk>", "<|endoftext|>"}));
  EXPECT_EQ(opt->special().eos, kBos);
  EXPECT_EQ(Tokenize(*opt, "<|endoftext|>").size(), 13u);
}

TEST(BytePairTest, SpecialTokensAreRecognizedUnlessSwitchedOff) {
  const Made made = OptWithMerges();
  EXPECT_THAT(Tokenize(*Make(made), "gate</s> gate<pad><</s>"),
              ElementsAre(262, kBos, 263, kPad, Byte('<'), kBos));
  // White space before one ends its text.
  EXPECT_THAT(Tokenize(*Make(Opt().Merge("\u0120", "\u0120")), "  </s>"),
              ElementsAre(kFirstMerged, kBos));
  // What OPT's GPT2Tokenizer does not name is text.
  EXPECT_THAT(Tokenize(*Make(made), "<s>"), ElementsAre(Byte('<'), Byte('s'), Byte('>')));
  EXPECT_EQ(Tokenize(*Make(made), "<unk>").size(), 5u);
  EXPECT_THAT(Tokenize(*Make(made, {.recognize_special_tokens = false}), "</s>"),
              ElementsAre(Byte('<'), Byte('/'), Byte('s'), Byte('>')));
}

TEST(BytePairTest, RefusesAVocabularyWithoutSpecialTokens) {
  for (const auto& special : {std::vector<std::string>{}, {"</s>"}, {"<pad>"}}) {
    const absl::Status status = Made(special).Load().status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("lacks special tokens: v.json: </s> and"));
  }
}

TEST(BytePairTest, DecodesAnyTextToItsBytes) {
  const auto tokenizer = Make(OptWithMerges());
  EXPECT_EQ(tokenizer->Decode({kBos, 262, 263, Byte('\n'), 1000, -1}),
            "</s>gate gate\n[id 1000][id -1]");
  EXPECT_EQ(tokenizer->Decode({}), "");
  EXPECT_EQ(tokenizer->Decode({Byte('a'), Byte('\xC3')}), "a\uFFFD");  // half a character
  std::mt19937 generator(9);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (int k = 0; k < 20; ++k) {
      uint32_t c = generator() % 0x110000;
      if (k % 2 == 0) c %= 0x180;
      if (c >= 0xD800 && c < 0xE000) c = ' ';
      char encoded[4];
      text.append(encoded, EncodeUtf8(c, encoded) - encoded);
    }
    ASSERT_EQ(tokenizer->Decode(Tokenize(*tokenizer, text)), text);
  }
}

TEST(BytePairTest, IllFormedUtf8ReadsAsReplacementCharacters) {
  const auto tokenizer = Make(OptWithMerges());
  EXPECT_EQ(Tokenize(*tokenizer, "ga\xFFte \xE2\x82"), Tokenize(*tokenizer, "ga\uFFFDte \uFFFD"));
  EXPECT_THAT(Tokenize(*tokenizer, "\xFF"), ElementsAre(Byte('\xEF'), Byte('\xBF'), Byte('\xBD')));
}

}  // namespace
}  // namespace sluice
