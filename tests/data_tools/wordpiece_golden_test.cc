// WordPieceTokenizer against ids that the Python package `tokenizers` gave the same lines
// (make_wordpiece_goldens.py).
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "data_tools/text/wordpiece.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tokenizer_threads.h"

namespace sluice {
namespace {

struct Golden {
  std::string text;
  std::vector<int32_t> uncased, cased;
};

class WordPieceGoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file("tests/data_tools/wordpiece_goldens.json");
    ASSERT_TRUE(file) << "run from the root of the repository";
    const nlohmann::json json = nlohmann::json::parse(file);
    for (const auto& token : json["vocabulary"]) {
      vocabulary_ += token.get<std::string>() + "\n";
    }
    for (const auto& line : json["lines"]) {
      goldens_.push_back({line["text"].get<std::string>(),
                          line["uncased"].get<std::vector<int32_t>>(),
                          line["cased"].get<std::vector<int32_t>>()});
    }
    ASSERT_GT(goldens_.size(), 200u);
  }

  std::unique_ptr<Tokenizer> Make(bool cased) {
    absl::StatusOr<Vocabulary> vocabulary = Vocabulary::FromBytes(vocabulary_, "goldens");
    EXPECT_TRUE(vocabulary.ok()) << vocabulary.status();
    WordPieceOptions options;
    options.normalization = {.lower_case = !cased, .strip_accents = !cased};
    auto tokenizer = WordPieceTokenizer::Create(*std::move(vocabulary), "goldens", options);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }

  std::string vocabulary_;
  std::vector<Golden> goldens_;
};

TEST_F(WordPieceGoldenTest, IdsAreThoseOfThePackage) {
  for (const bool cased : {false, true}) {
    const std::unique_ptr<Tokenizer> tokenizer = Make(cased);
    EXPECT_EQ(tokenizer->cased(), cased);
    int64_t ids_seen = 0, unknown = 0;
    for (const Golden& golden : goldens_) {
      std::vector<int32_t> ids;
      tokenizer->Tokenize(golden.text, &ids);
      EXPECT_EQ(ids, cased ? golden.cased : golden.uncased)
          << "cased " << cased << ": " << golden.text;
      ids_seen += static_cast<int64_t>(ids.size());
      unknown += std::count(ids.begin(), ids.end(), tokenizer->special().unk);
    }
    EXPECT_GT(ids_seen, 2000);
    EXPECT_GT(unknown, 10);            // both ways are tried,
    EXPECT_LT(unknown, ids_seen / 4);  // and [UNK] hides little
  }
}

TEST_F(WordPieceGoldenTest, AppendsAndServesManyThreads) {
  std::vector<sluice::testing::TokenizedText> texts;
  for (const Golden& golden : goldens_) texts.push_back({golden.text, golden.uncased});
  sluice::testing::ExpectAppendsInManyThreads(*Make(false), texts);
}

TEST_F(WordPieceGoldenTest, DecodedTextHasTheSameIds) {
  const std::unique_ptr<Tokenizer> tokenizer = Make(false);
  int tried = 0;
  for (const Golden& golden : goldens_) {
    // A combining grapheme joiner keeps marks from changing places, and is dropped.
    if (golden.text.find("\u034f") != std::string::npos) continue;
    std::vector<int32_t> ids;
    tokenizer->Tokenize(golden.text, &ids);
    std::vector<int32_t> again;
    tokenizer->Tokenize(tokenizer->Decode(ids), &again);
    EXPECT_EQ(again, ids) << golden.text;  // [UNK] too: special tokens are recognized
    ++tried;
  }
  EXPECT_GT(tried, 200);
}

}  // namespace
}  // namespace sluice
