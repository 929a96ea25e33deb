#include "train/huggingface_tokenizer.h"

#include "core/error.h"
#include "core/status.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class HuggingFaceTokenizerTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) const {
    testing::SetFileBytes(folder_.path() + "/" + name, text);
  }
  absl::StatusOr<std::vector<std::string>> Read() const {
    ASSIGN_OR_RETURN(const ImportedVocabulary vocabulary,
                     VocabularyFromHuggingFace(folder_.path()));
    EXPECT_EQ(vocabulary.files.size(), VocabularyFileNames(vocabulary.kind).size());
    return vocabulary.files;
  }
  void ExpectRefused(const std::string& message) const {
    const absl::Status status = Read().status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_.path()));
  }
  void ExpectConfigRefused(const Json& config, const std::string& message) const {
    Write("tokenizer_config.json", config.dump());
    ExpectRefused(message);
  }
  // tokenizer.json as transformers 5 saves it, in its essentials, with a change.
  void WriteTokenizer(const Json& change) const {
    Json file = {{"normalizer",
                  {{"type", "BertNormalizer"},
                   {"clean_text", true},
                   {"handle_chinese_chars", true},
                   {"strip_accents", nullptr},
                   {"lowercase", true}}},
                 {"model",
                  {{"type", "WordPiece"},
                   {"unk_token", "[UNK]"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", {{"b", 2}, {"[PAD]", 0}, {"##é", 1}}}}}};
    file.merge_patch(change);
    Write("tokenizer.json", file.dump());
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(HuggingFaceTokenizerTest, VocabularyFileAsItIs) {
  Write("vocab.txt", "[PAD]\nriver\n##s");  // no newline at the end: its checksum is its identity
  EXPECT_THAT(Read().value(), ElementsAre("[PAD]\nriver\n##s"));
  for (const bool cased : {false, true}) {
    Write("vocab.txt", cased ? "[PAD]\nRiver\n" : "[PAD]\nriver\n");
    TokenizerIdentity identity;
    identity.cased = cased;
    Write("tokenizer_config.json", TokenizerConfigToHuggingFace(identity, 512).dump());
    EXPECT_TRUE(Read().ok()) << Read().status();
  }
}

TEST_F(HuggingFaceTokenizerTest, VocabularyOfTokenizerJson) {
  WriteTokenizer(Json::object());
  EXPECT_THAT(Read().value(), ElementsAre("[PAD]\n##é\nb\n"));
  Write("vocab.txt", "other\n");  // wins
  EXPECT_THAT(Read().value(), ElementsAre("other\n"));
}

TEST_F(HuggingFaceTokenizerTest, RefusesOtherNormalizations) {
  ExpectRefused("neither vocab.txt nor vocab.json and merges.txt nor tokenizer.json");
  Write("vocab.txt", "[PAD]\nriver\n");
  ExpectConfigRefused({{"tokenizer_class", "GPT2Tokenizer"}},
                      R"(tokenizer_class: "GPT2Tokenizer")");
  ExpectConfigRefused({{"tokenize_chinese_chars", false}}, "tokenize_chinese_chars: false");
  ExpectConfigRefused({{"do_basic_tokenize", false}}, "do_basic_tokenize: false");
  ExpectConfigRefused({{"do_lower_case", "yes"}}, R"(do_lower_case: "yes")");
  ExpectConfigRefused({{"do_lower_case", true}, {"strip_accents", false}}, "strip_accents: false");
  ExpectConfigRefused({{"do_lower_case", false}}, "the vocabulary has no upper-case letters");
  Write("vocab.txt", "[PAD]\nRiver\n");
  ExpectConfigRefused({{"do_lower_case", true}}, "the vocabulary has upper-case letters");
  Write("tokenizer_config.json", "[]");
  ExpectRefused("is not a JSON object");
}

TEST_F(HuggingFaceTokenizerTest, RefusesOtherTokenizers) {
  const auto refused = [&](const Json& change, const std::string& message) {
    WriteTokenizer(change);
    ExpectRefused(message);
  };
  refused({{"model", {{"type", "Unigram"}}}}, "expected a model BPE, or WordPiece");
  refused({{"model", 1}}, "is not an object");
  refused({{"model", {{"unk_token", "<unk>"}}}}, "unk_token");
  refused({{"model", {{"continuing_subword_prefix", "@@"}}}}, "continuing_subword_prefix");
  refused({{"model", {{"max_input_chars_per_word", 50}}}}, "max_input_chars_per_word: 50");
  refused({{"model", {{"vocab", nullptr}}}}, "model.vocab is not an object");
  refused({{"model", {{"vocab", {{"b", 3}}}}}}, "number its tokens from 0 on");
  refused({{"model", {{"vocab", {{"b", 1}}}}}}, "number its tokens from 0 on");
  refused({{"model", {{"vocab", {{"b", -1}}}}}}, "b: -1");
  refused({{"model", {{"vocab", {{"b", nullptr}, {"c\n", 2}}}}}}, "number its tokens from 0 on");
  refused({{"normalizer", {{"type", "Lowercase"}}}}, "BertNormalizer");
  refused({{"normalizer", {{"clean_text", false}}}}, "clean_text: false");
  refused({{"normalizer", {{"handle_chinese_chars", false}}}}, "handle_chinese_chars: false");
  refused({{"normalizer", {{"strip_accents", false}}}}, "strip_accents: false");
  refused({{"normalizer", {{"lowercase", false}}}}, "no upper-case letters");
}

}  // namespace
}  // namespace sluice
