// The division into words, by hand.
#include "data_tools/text/byte_pair_words.h"

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Words(absl::string_view text) {
  std::vector<std::string> words;
  ForEachBytePairWord(text, [&](absl::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(BytePairWordsTest, LettersDigitsAndOthersTakeOneSpaceAlong) {
  EXPECT_THAT(Words("The gate, no. 42b!"),
              ElementsAre("The", " gate", ",", " no", ".", " 42", "b", "!"));
  EXPECT_THAT(Words(" (a) --b"), ElementsAre(" (", "a", ")", " --", "b"));
  EXPECT_THAT(Words("snake_case"), ElementsAre("snake", "_", "case"));
  EXPECT_THAT(Words(""), IsEmpty());
}

TEST(BytePairWordsTest, Contractions) {
  EXPECT_THAT(Words("it's we're they've I'm she'll he'd can't"),
              ElementsAre("it", "'s", " we", "'re", " they", "'ve", " I", "'m", " she", "'ll",
                          " he", "'d", " can", "'t"));
  // Lower case only, at the match's start only, and not checked for a word's end.
  EXPECT_THAT(Words("IT'S"), ElementsAre("IT", "'", "S"));
  EXPECT_THAT(Words("a 's"), ElementsAre("a", " '", "s"));
  EXPECT_THAT(Words("!'s"), ElementsAre("!'", "s"));
  EXPECT_THAT(Words("'tis"), ElementsAre("'t", "is"));
  EXPECT_THAT(Words("'r 'l' 'v"), ElementsAre("'", "r", " '", "l", "'", " '", "v"));
  EXPECT_THAT(Words("a'r"), ElementsAre("a", "'", "r"));
  EXPECT_THAT(Words("''s"), ElementsAre("''", "s"));
  EXPECT_THAT(Words("'"), ElementsAre("'"));
}

TEST(BytePairWordsTest, WhiteSpaceLeavesItsLastCharacterToTheWord) {
  EXPECT_THAT(Words("a  b"), ElementsAre("a", " ", " b"));
  EXPECT_THAT(Words("a   "), ElementsAre("a", "   "));
  EXPECT_THAT(Words("  "), ElementsAre("  "));
  EXPECT_THAT(Words(" "), ElementsAre(" "));
  // Only a space is taken along.
  EXPECT_THAT(Words("a\tb"), ElementsAre("a", "\t", "b"));
  EXPECT_THAT(Words("a\n\n b"), ElementsAre("a", "\n\n", " b"));
  EXPECT_THAT(Words("a \n b"), ElementsAre("a", " \n", " b"));
  EXPECT_THAT(Words("a \nb"), ElementsAre("a", " ", "\n", "b"));
  EXPECT_THAT(Words("a\u00a0b\u3000\u2003c"),
              ElementsAre("a", "\u00a0", "b", "\u3000", "\u2003", "c"));
}

TEST(BytePairWordsTest, ClassesAreThoseOfUnicode) {
  // Letters of other scripts are words; combining marks (\p{M}) and joiners are "other".
  EXPECT_THAT(Words("\u00c9t\u00e9 \u4e2d\u6587 \u05d0"), ElementsAre("Été", " 中文", " א"));
  EXPECT_THAT(Words("e\u0301a"), ElementsAre("e", "\u0301", "a"));
  EXPECT_THAT(Words("\u0663\u00bd\u2167 x"), ElementsAre("\u0663\u00bd\u2167", " x"));
  EXPECT_THAT(Words("a\u200bb"), ElementsAre("a", "\u200b", "b"));
  EXPECT_THAT(Words("\U0001F469\u200D\U0001F467!"), ElementsAre("\U0001F469\u200D\U0001F467!"));
  EXPECT_THAT(Words("\x1c|"), ElementsAre("\x1c|"));  // a separator, but not \s
  EXPECT_THAT(Words("\u0085a"), ElementsAre("\u0085", "a"));
}

TEST(BytePairWordsTest, EveryByteIsInOneWord) {
  std::mt19937 generator(20240707);
  const std::string often = "gates's  '\n\xC3\xA9\xCC\x81\xE2\x82\xF0\x9F\x98\x80 12";
  for (int i = 0; i < 3000; ++i) {
    std::string text(generator() % 60, ' ');
    for (char& c : text) {
      c = generator() % 4 == 0 ? static_cast<char>(generator()) : often[generator() % often.size()];
    }
    std::string joined;
    for (const std::string& word : Words(text)) {
      ASSERT_FALSE(word.empty());
      joined += word;
    }
    ASSERT_EQ(joined, text);
  }
}

}  // namespace
}  // namespace sluice
