// The trie against a search through all prefixes, on random byte strings of few and of all letters.
#include "data_tools/text/piece_trie.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace sluice {
namespace {

std::string RandomString(std::mt19937* generator, int letters, int longest) {
  std::string text((*generator)() % longest + 1, '\0');
  for (char& c : text) c = static_cast<char>((*generator)() % letters);
  return text;
}

TEST(PieceTrieTest, FindsTheLongestPrefix) {
  std::mt19937 generator(7);
  for (const int letters : {1, 2, 5, 256}) {
    std::map<std::string, int32_t> values;
    std::vector<std::string> pieces;
    for (int i = 0; i < 3000; ++i) {
      std::string piece = RandomString(&generator, letters, 6);
      if (values.emplace(piece, pieces.size()).second) pieces.push_back(std::move(piece));
    }
    const PieceTrie trie({pieces.begin(), pieces.end()});
    const std::string lead = pieces[0].substr(0, 1);
    const uint32_t after_lead = trie.Walk(lead);
    int found = 0, missed = 0;
    for (int i = 0; i < 5000; ++i) {
      const std::string text = RandomString(&generator, letters, 9);
      PieceTrie::Match expected, expected_after;
      for (size_t bytes = 1; bytes <= text.size(); ++bytes) {
        if (const auto it = values.find(text.substr(0, bytes)); it != values.end()) {
          expected = {it->second, bytes};
        }
        if (const auto it = values.find(lead + text.substr(0, bytes)); it != values.end()) {
          expected_after = {it->second, bytes};
        }
      }
      const PieceTrie::Match match = trie.LongestPrefix(PieceTrie::kRoot, text);
      ASSERT_EQ(match.value, expected.value);
      ASSERT_EQ(match.bytes, expected.bytes);
      const PieceTrie::Match match_after = trie.LongestPrefix(after_lead, text);
      ASSERT_EQ(match_after.value, expected_after.value);
      ASSERT_EQ(match_after.bytes, expected_after.bytes);
      ++(match.value == PieceTrie::kNone ? missed : found);
    }
    EXPECT_GT(found, 1000) << letters;
  }
}

TEST(PieceTrieTest, NothingMatchesInADeadEndOrAnEmptyTrie) {
  const PieceTrie trie({"ab", "b"});
  EXPECT_EQ(trie.LongestPrefix(trie.Walk("x"), "ab").value, PieceTrie::kNone);
  EXPECT_EQ(trie.LongestPrefix(trie.Walk("ab"), "ab").value, PieceTrie::kNone);
  EXPECT_EQ(trie.LongestPrefix(PieceTrie::kRoot, std::string(1, '\0')).value, PieceTrie::kNone);
  const PieceTrie empty({});
  for (int c = 0; c < 256; ++c) {
    EXPECT_EQ(empty.LongestPrefix(PieceTrie::kRoot, std::string(1, static_cast<char>(c))).value,
              PieceTrie::kNone);
  }
}

}  // namespace
}  // namespace sluice
