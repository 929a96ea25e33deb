// The learner of byte-level BPE against merges worked out by hand; the golden test holds it against
// the package's, and wordpiece_learner_test.cc holds the merging they share against its definition.
#include "data_tools/text/byte_pair_learner.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "data_tools/text/learn_vocabulary.h"
#include "data_tools/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

LearnedBytePairs Learn(const std::vector<std::string>& lines, BytePairLearnerOptions options) {
  BytePairWordCounter words;
  for (const std::string& line : lines) words.Add(line);
  auto learned = LearnBytePairs(words, options);
  EXPECT_TRUE(learned.ok()) << learned.status();
  return learned.ok() ? *std::move(learned) : LearnedBytePairs{};
}

TEST(BytePairLearnerTest, SpecialTokensBytesThenMerges) {
  // Words: "ab" 1, "Ġab" 2, "Ġb" 2. (a b) 3; then (Ġ b) 2 and (Ġ ab) 2, of which the former has the
  // smaller ids.
  const LearnedBytePairs learned = Learn({"ab ab ab b b"}, {.size = 1000});
  ASSERT_EQ(learned.tokens.size(), 4u + 256u + 3u);
  EXPECT_THAT((std::vector<std::string>(learned.tokens.begin(), learned.tokens.begin() + 6)),
              ElementsAre("<s>", "<pad>", "</s>", "<unk>", "!", "\""));
  EXPECT_EQ(learned.tokens[259], "\u0143");  // the largest character
  EXPECT_THAT((std::vector<std::string>(learned.tokens.begin() + 260, learned.tokens.end())),
              ElementsAre("ab", "\u0120b", "\u0120ab"));
  EXPECT_EQ(MergesText(learned), "#version: 0.2\na b\n\u0120 b\n\u0120 ab\n");
  EXPECT_THAT(
      VocabularyJsonText(learned),
      HasSubstr("{\"<s>\":0,\"<pad>\":1,\"</s>\":2,\"<unk>\":3,\"!\":4,\"\\\"\":5,\"#\":6,"));
  EXPECT_THAT(VocabularyJsonText(learned), HasSubstr(",\"\u0120ab\":262}"));
}

TEST(BytePairLearnerTest, StopsAtTheSizeAndBelowTheFrequency) {
  EXPECT_EQ(Learn({"ab ab ab b b"}, {.size = 261}).tokens.back(), "ab");
  EXPECT_EQ(Learn({"ab ab ab b b"}, {.size = 260}).tokens.size(), 260u);
  EXPECT_EQ(Learn({"ab ab ab b b"}, {.size = 1000, .minimum_frequency = 3}).tokens.back(), "ab");
  // The order of the lines does not matter.
  EXPECT_EQ(Learn({"b", "ab ac", "ac b"}, {.size = 300}).tokens,
            Learn({"ac b", "b", "ab ac"}, {.size = 300}).tokens);
}

TEST(BytePairLearnerTest, SaysWhatIsWrong) {
  BytePairWordCounter words;
  EXPECT_EQ(ExitCodeOf(LearnBytePairs(words, {}).status()), ExitCode::kData);
  words.Add("a  b");
  EXPECT_EQ(words.total(), 3);
  const absl::Status small = LearnBytePairs(words, {.size = 259}).status();
  EXPECT_EQ(ExitCodeOf(small), ExitCode::kUsage);
  EXPECT_THAT(std::string(small.message()), HasSubstr("size 259, needed 260 for 4 special tokens"));
}

TEST(LearnBytePairVocabularyTest, WritesAFolderThatLoads) {
  const TemporaryFolder folder;
  const std::string text = folder.path() + "/text", out = folder.path() + "/vocabulary";
  std::ofstream(text) << "The gate and the gates,\n\nthe gatekeeper's and the gate.\n";
  const LearnVocabularyOptions options{
      .texts = {text}, .folder = out, .tokenizer = "bpe", .learner = {.size = 290}};
  const auto learned = LearnVocabulary(options);
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_EQ(learned->words, 13);
  const auto tokenizer = LoadTokenizer({.path = out});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->kind(), "bpe");
  EXPECT_EQ((*tokenizer)->vocabulary_size(), static_cast<int64_t>(learned->tokens.size()));
  EXPECT_EQ((*tokenizer)->special().eos, 2);
  std::vector<int32_t> ids;
  (*tokenizer)->Tokenize(" gate", &ids);
  EXPECT_EQ(ids.size(), 1u);
  const std::string description = *ReadWholeFile(out + "/tokenizer.yaml");
  EXPECT_THAT(description, HasSubstr("kind: bpe\ncased: true\nsize: "));
  EXPECT_THAT(description, HasSubstr("# of vocab.json and merges.txt"));

  EXPECT_TRUE(LearnVocabulary(options).ok());  // the same files
  LearnVocabularyOptions other = options;
  other.learner.size = 265;
  EXPECT_EQ(ExitCodeOf(LearnVocabulary(other).status()), ExitCode::kUsage);
  other.tokenizer = "unigram";
  EXPECT_EQ(ExitCodeOf(LearnVocabulary(other).status()), ExitCode::kUsage);
}

}  // namespace
}  // namespace sluice
