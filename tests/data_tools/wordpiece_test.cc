// WordPiece by hand: longest match, [UNK], special tokens, decoding, ill-formed input.
#include "data_tools/text/wordpiece.h"

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Ids: 0 [PAD] 1 [UNK] 2 [CLS] 3 [SEP] 4 [MASK] 5 gate 6 ##s 7 ga 8 ##te 9 ##keeper 10 ,
//      11 [ 12 mask 13 ] 14 g 15 ##g 16 é 17 e 18 i 19 ##
constexpr char kVocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngate\n##s\nga\n##te\n##keeper\n,\n[\nmask\n]\ng\n##g\né\n"
    "e\ni\n##\n";

std::unique_ptr<Tokenizer> Make(WordPieceOptions options = {}) {
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::FromBytes(kVocabulary, "here");
  EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
  auto tokenizer = WordPieceTokenizer::Create(*std::move(vocabulary), "here", options);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, absl::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.Tokenize(text, &ids);
  return ids;
}

TEST(WordPieceTest, TakesTheLongestPieceThatTheVocabularyHas) {
  const auto tokenizer = Make();
  EXPECT_THAT(Ids(*tokenizer, "Gates, gatekeepers"), ElementsAre(5, 6, 10, 5, 9, 6));
  EXPECT_THAT(Ids(*tokenizer, "gag"), ElementsAre(7, 15));
  EXPECT_THAT(Ids(*tokenizer, ""), IsEmpty());
  EXPECT_THAT(Ids(*tokenizer, " \t\r\n"), IsEmpty());
}

TEST(WordPieceTest, AWordThatCannotBeCutIsOneUnknown) {
  const auto tokenizer = Make();
  // Greedy: "gat" begins with "ga", then "##t" is missing; no other cut is tried.
  EXPECT_THAT(Ids(*tokenizer, "gate gat gatesx"), ElementsAre(5, 1, 1));
  EXPECT_THAT(Ids(*tokenizer, "s keeper"), ElementsAre(1, 1));  // only as continuations
  EXPECT_THAT(Ids(*tokenizer, "##"), ElementsAre(1, 1));        // punctuation, one by one
}

TEST(WordPieceTest, AWordOfMoreThanHundredCharactersIsUnknown) {
  const auto tokenizer = Make();
  std::vector<int32_t> hundred(100, 15);
  hundred[0] = 14;
  EXPECT_EQ(Ids(*tokenizer, std::string(100, 'g')), hundred);
  EXPECT_THAT(Ids(*tokenizer, std::string(101, 'g')), ElementsAre(1));
}

TEST(WordPieceTest, AccentsStayWhenCased) {
  EXPECT_THAT(Ids(*Make(), "É é"), ElementsAre(17, 17));
  EXPECT_THAT(Ids(*Make({.normalization = {.lower_case = false, .strip_accents = false}}), "É é"),
              ElementsAre(1, 16));
  // Lower case alone keeps them, and makes two characters of a capital I with a dot.
  const auto lower = Make({.normalization = {.lower_case = true, .strip_accents = false}});
  EXPECT_THAT(Ids(*lower, "É é"), ElementsAre(16, 16));
  EXPECT_THAT(Ids(*lower, "İ i"), ElementsAre(1, 18));
  EXPECT_THAT(Ids(*Make(), "İ i"), ElementsAre(18, 18));
}

TEST(WordPieceTest, SpecialTokensAreRecognizedUnlessSwitchedOff) {
  EXPECT_THAT(Ids(*Make(), "gate[MASK]s [SEP], [mask] [MASK [[PAD]"),
              ElementsAre(5, 4, 1, 3, 10, 11, 12, 13, 11, 12, 11, 0));
  EXPECT_THAT(Ids(*Make({.normalization = {}, .recognize_special_tokens = false}), "[MASK]"),
              ElementsAre(11, 12, 13));
}

TEST(WordPieceTest, SaysWhatItIs) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->kind(), "wordpiece");
  EXPECT_FALSE(tokenizer->cased());
  EXPECT_EQ(tokenizer->vocabulary_size(), 20);
  EXPECT_EQ(tokenizer->special().pad, 0);
  EXPECT_EQ(tokenizer->special().unk, 1);
  EXPECT_EQ(tokenizer->special().cls, 2);
  EXPECT_EQ(tokenizer->special().sep, 3);
  EXPECT_EQ(tokenizer->special().mask, 4);
  EXPECT_EQ(tokenizer->TokenText(9), "##keeper");
  EXPECT_TRUE(tokenizer->ContinuesWord(9));
  EXPECT_FALSE(tokenizer->ContinuesWord(5));
  EXPECT_FALSE(tokenizer->ContinuesWord(19));  // "##" itself
}

TEST(WordPieceTest, DecodesForPeople) {
  const auto tokenizer = Make();
  EXPECT_EQ(tokenizer->Decode({2, 5, 9, 6, 10, 4, 3}), "[CLS] gatekeepers , [MASK] [SEP]");
  EXPECT_EQ(tokenizer->Decode({6, 5}), "s gate");
  EXPECT_EQ(tokenizer->Decode({5, 20, -1}), "gate [id 20] [id -1]");
  EXPECT_EQ(tokenizer->Decode({}), "");
}

TEST(WordPieceTest, IllFormedUtf8LeavesNoTrace) {
  const auto tokenizer = Make();
  EXPECT_THAT(Ids(*tokenizer, "ga\xFFte \xC3 g\xE2\x82 \xED\xA0\x80 \xF5\x80 gates\xC3"),
              ElementsAre(5, 14, 5, 6));
}

TEST(WordPieceTest, AnyBytesGiveIdsOfTheVocabulary) {
  const auto tokenizer = Make();
  std::mt19937 generator(20240601);
  const std::string often = "gates, [MASK]\xC3\xA9\xCC\x81\xEA\xB0\x81\xF0\x9D\x85\xA5";
  for (int i = 0; i < 3000; ++i) {
    std::string text(generator() % 80, ' ');
    for (char& c : text) {
      c = generator() % 3 == 0 ? static_cast<char>(generator()) : often[generator() % often.size()];
    }
    for (const int32_t id : Ids(*tokenizer, text)) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, tokenizer->vocabulary_size());
    }
  }
}

}  // namespace
}  // namespace sluice
