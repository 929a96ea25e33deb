// BytePairTokenizer against ids that the Python package `tokenizers` gave the same lines, with a
// vocabulary that the package learnt (make_byte_pair_goldens.py).
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "data_tools/text/byte_pair.h"
#include "data_tools/text/byte_pair_learner.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tokenizer_threads.h"

namespace sluice {
namespace {

struct Golden {
  std::string text;
  std::vector<int32_t> ids, plain;
};

class BytePairGoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file("tests/data_tools/byte_pair_goldens.json");
    ASSERT_TRUE(file) << "run from the root of the repository";
    const nlohmann::json json = nlohmann::json::parse(file);
    for (const std::string token : json["tokens"]) vocabulary_[token] = vocabulary_.size();
    for (const std::string merge : json["merges"]) absl::StrAppend(&merges_, merge, "\n");
    for (const auto& line : json["lines"]) {
      const auto ids = line["ids"].get<std::vector<int32_t>>();
      goldens_.push_back({line["text"].get<std::string>(), ids, line.value("plain", ids)});
    }
    ASSERT_GT(goldens_.size(), 200u);
  }

  std::unique_ptr<Tokenizer> Make(bool recognize_special_tokens = true) {
    auto vocabulary = BytePairVocabulary::FromBytes({"goldens.json", vocabulary_.dump()},
                                                    {"goldens.txt", merges_});
    EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
    auto tokenizer = BytePairTokenizer::Create(
        *std::move(vocabulary), {.recognize_special_tokens = recognize_special_tokens});
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }

  nlohmann::json vocabulary_ = nlohmann::json::object();
  std::string merges_ = "#version: 0.2\n";
  std::vector<Golden> goldens_;
};

TEST_F(BytePairGoldenTest, IdsAreThoseOfThePackage) {
  for (const bool recognize : {true, false}) {
    const std::unique_ptr<Tokenizer> tokenizer = Make(recognize);
    int64_t ids_seen = 0, others = 0;
    for (const Golden& golden : goldens_) {
      std::vector<int32_t> ids;
      tokenizer->Tokenize(golden.text, &ids);
      EXPECT_EQ(ids, recognize ? golden.ids : golden.plain) << recognize << ": " << golden.text;
      ids_seen += static_cast<int64_t>(ids.size());
      others += golden.ids != golden.plain;
    }
    EXPECT_GT(ids_seen, 5000);
    EXPECT_GT(others, 10);
  }
}

TEST_F(BytePairGoldenTest, DecodesToTheVeryText) {
  const std::unique_ptr<Tokenizer> tokenizer = Make();
  for (const Golden& golden : goldens_) EXPECT_EQ(tokenizer->Decode(golden.ids), golden.text);
}

TEST_F(BytePairGoldenTest, AppendsAndServesManyThreads) {
  std::vector<sluice::testing::TokenizedText> texts;
  for (const Golden& golden : goldens_) texts.push_back({golden.text, golden.ids});
  sluice::testing::ExpectAppendsInManyThreads(*Make(), texts);
}

// The vocabulary was learnt from these very lines.
TEST_F(BytePairGoldenTest, TheLearnerFindsThePackagesVocabulary) {
  BytePairWordCounter words;
  for (const Golden& golden : goldens_) words.Add(golden.text);
  const auto learned = LearnBytePairs(words, {.size = static_cast<int64_t>(vocabulary_.size())});
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_EQ(nlohmann::json::parse(VocabularyJsonText(*learned)), vocabulary_);
  EXPECT_EQ(MergesText(*learned), merges_);
}

}  // namespace
}  // namespace sluice
