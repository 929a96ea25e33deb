// The learner against merges worked out by hand, and against one that counts everything anew before
// each merge.
#include "data_tools/text/wordpiece_learner.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "data_tools/text/learn_vocabulary.h"
#include "data_tools/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TemporaryFolder;

using Tokens = std::vector<std::string>;

LearnedVocabulary Learn(const std::vector<std::string>& lines, WordPieceLearnerOptions options,
                        bool cased = false) {
  WordCounter words(cased);
  for (const std::string& line : lines) words.Add(line);
  auto learned = LearnWordPiece(words, options);
  EXPECT_TRUE(learned.ok()) << learned.status();
  return learned.ok() ? *std::move(learned) : LearnedVocabulary{};
}

Tokens AfterSpecial(const LearnedVocabulary& learned) {
  const Tokens special(learned.tokens.begin(), learned.tokens.begin() + 5);
  EXPECT_THAT(special, ElementsAre("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"));
  return {learned.tokens.begin() + 5, learned.tokens.end()};
}

// The same by definition: all pairs are counted before each merge. ASCII letters only.
Tokens LearnSlowly(const std::map<std::string, int64_t>& words, size_t size, int64_t minimum) {
  Tokens tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::set<char> characters, inside;
  for (const auto& [word, count] : words) {
    characters.insert(word.begin(), word.end());
    inside.insert(word.begin() + 1, word.end());
  }
  for (const char c : characters) tokens.push_back(std::string(1, c));
  for (const char c : inside) tokens.push_back(absl::StrCat("##", std::string(1, c)));
  std::map<std::string, size_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = i;
  std::vector<std::pair<std::vector<size_t>, int64_t>> cut;
  for (const auto& [word, count] : words) {
    cut.push_back({{ids[word.substr(0, 1)]}, count});
    for (size_t i = 1; i < word.size(); ++i) {
      cut.back().first.push_back(ids[absl::StrCat("##", word.substr(i, 1))]);
    }
  }
  while (tokens.size() < size) {
    std::map<std::pair<size_t, size_t>, int64_t> pairs;
    for (const auto& [pieces, count] : cut) {
      for (size_t i = 1; i < pieces.size(); ++i) pairs[{pieces[i - 1], pieces[i]}] += count;
    }
    const auto best = std::max_element(
        pairs.begin(), pairs.end(),
        [](const auto& a, const auto& b) { return a.second < b.second; });  // the first of equals
    if (best == pairs.end() || best->second < minimum) break;
    const auto [first, second] = best->first;
    const std::string merged = absl::StrCat(tokens[first], tokens[second].substr(2));
    const auto [where, is_new] = ids.emplace(merged, tokens.size());
    if (is_new) tokens.push_back(merged);
    for (auto& [pieces, count] : cut) {
      for (size_t i = 0; i + 1 < pieces.size(); ++i) {
        if (pieces[i] != first || pieces[i + 1] != second) continue;
        pieces[i] = where->second;
        pieces.erase(pieces.begin() + i + 1);
      }
    }
  }
  return tokens;
}

TEST(WordPieceLearnerTest, MergesTheMostFrequentPair) {
  // Words: aab 5, ab 3, b 2. Pairs: (a ##a) 5, (##a ##b) 5, (a ##b) 3. Of the two first, (a ##a)
  // has the smaller ids. Then (aa ##b) 5; then (a ##b) 3.
  const LearnedVocabulary learned = Learn({"aab aab AAB aab aab", "ab ab ab b b"}, {.size = 100});
  EXPECT_THAT(AfterSpecial(learned), ElementsAre("a", "b", "##a", "##b", "aa", "aab", "ab"));
  EXPECT_EQ(learned.words, 10);
  EXPECT_EQ(learned.different_words, 3);
  EXPECT_EQ(learned.characters, 2);
  EXPECT_EQ(learned.different_characters, 2);
  // Stops at the wanted size, and below the wanted frequency.
  EXPECT_EQ(Learn({"aab aab aab aab aab", "ab ab ab b b"}, {.size = 11}).tokens.size(), 11u);
  EXPECT_THAT(AfterSpecial(Learn({"aab aab aab aab aab", "ab ab ab b b"},
                                 {.size = 100, .minimum_frequency = 4})),
              ElementsAre("a", "b", "##a", "##b", "aa", "aab"));
}

TEST(WordPieceLearnerTest, CasingAccentsAndPunctuation) {
  const std::vector<std::string> lines = {"Été, été"};
  EXPECT_THAT(AfterSpecial(Learn(lines, {.size = 12})),
              ElementsAre(",", "e", "t", "##e", "##t", "et", "ete"));
  EXPECT_THAT(AfterSpecial(Learn(lines, {.size = 12}, /*cased=*/true)),
              ElementsAre(",", "t", "É", "é", "##t", "##é", "##té"));
}

TEST(WordPieceLearnerTest, KeepsTheMostFrequentCharacters) {
  // c and d are equally frequent: the smaller code point stays.
  const LearnedVocabulary learned = Learn({"aaa aaa bb d c"}, {.size = 100, .alphabet_limit = 3});
  EXPECT_EQ(learned.characters, 3);
  EXPECT_EQ(learned.different_characters, 4);
  EXPECT_THAT(AfterSpecial(learned), ElementsAre("a", "b", "c", "##a", "##b", "aa", "aaa"));
}

TEST(WordPieceLearnerTest, EqualsTheDefinitionOnRandomWords) {
  std::mt19937 generator(11);
  for (int round = 0; round < 30; ++round) {
    const int letters = 1 + round % 6;
    std::map<std::string, int64_t> words;
    std::vector<std::string> lines;
    for (int i = 0; i < 150; ++i) {
      std::string word(1 + generator() % 12, 'a');
      for (char& c : word) c = static_cast<char>('a' + generator() % letters);
      const int64_t count = 1 + static_cast<int64_t>(generator() % 4);
      words[word] += count;
      for (int64_t k = 0; k < count; ++k) lines.push_back(word);
    }
    const size_t size = 40 + generator() % 300;
    const Tokens expected = LearnSlowly(words, size, 2);
    EXPECT_EQ(Learn(lines, {.size = static_cast<int64_t>(size)}).tokens, expected);
    // Whatever the order of the lines.
    std::shuffle(lines.begin(), lines.end(), generator);
    EXPECT_EQ(Learn(lines, {.size = static_cast<int64_t>(size)}).tokens, expected);
  }
}

TEST(WordPieceLearnerTest, SaysWhatIsWrong) {
  WordCounter words(false);
  const absl::Status empty = LearnWordPiece(words, {}).status();
  EXPECT_EQ(ExitCodeOf(empty), ExitCode::kData);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("no words"));
  words.Add("abc abd " + std::string(101, 'x'));  // too long to be tokenized, so not learned from
  EXPECT_EQ(words.total(), 2);
  const absl::Status small = LearnWordPiece(words, {.size = 11}).status();
  EXPECT_EQ(ExitCodeOf(small), ExitCode::kUsage);
  EXPECT_THAT(std::string(small.message()), HasSubstr("size 11, needed 12 for 5 special tokens"));
  EXPECT_TRUE(LearnWordPiece(words, {.size = 12}).ok());
}

TEST(LearnVocabularyTest, WritesAFolderThatLoads) {
  const TemporaryFolder folder;
  const std::string text = folder.path() + "/text", out = folder.path() + "/new/vocabulary";
  std::ofstream(text) << "The gate and the gates,\n\nthe gatekeeper and the gate. \xFF\n";
  const LearnVocabularyOptions options{
      .texts = {text}, .folder = out, .cased = true, .learner = {.size = 60}};
  const auto learned = LearnVocabulary(options);
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_LT(learned->tokens.size(), 60u);
  const auto tokenizer = LoadTokenizer({.path = out});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_TRUE((*tokenizer)->cased());
  EXPECT_EQ((*tokenizer)->vocabulary_size(), static_cast<int64_t>(learned->tokens.size()));
  std::vector<int32_t> ids;
  (*tokenizer)->Tokenize("the gate", &ids);
  EXPECT_EQ((*tokenizer)->Decode(ids), "the gate");
  EXPECT_EQ(ids.size(), 2u);

  // Again: the same files, so nothing to refuse. Another vocabulary would be lost.
  EXPECT_TRUE(LearnVocabulary(options).ok());
  LearnVocabularyOptions other = options;
  other.learner.size = 30;
  const absl::Status refused = LearnVocabulary(other).status();
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kUsage) << refused;
  EXPECT_THAT(std::string(refused.message()), StartsWith("folder holds another vocabulary"));
  other.folder = "/proc/none";
  EXPECT_EQ(ExitCodeOf(LearnVocabulary(other).status()), ExitCode::kDevice);
  // A folder that was made for nothing is not left.
  other.folder = folder.path() + "/for_nothing";
  other.texts = {folder.path() + "/none"};
  EXPECT_EQ(ExitCodeOf(LearnVocabulary(other).status()), ExitCode::kData);
  EXPECT_FALSE(std::filesystem::exists(other.folder));
}

}  // namespace
}  // namespace sluice
