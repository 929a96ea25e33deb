#include "train/huggingface_byte_pair.h"

#include "core/error.h"
#include "gmock/gmock.h"
#include "support/sample_checkpoint.h"
#include "train/huggingface_tokenizer.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kVocabulary[] = R"({"<pad>":0,"</s>":1,"a":2,"Ġ":3,"Ġa":4})";
constexpr char kMerges[] = "#version: 0.2\nĠ a\n";

TokenizerIdentity BytePairIdentity(const SpecialTokenIds& special) {
  TokenizerIdentity identity;
  identity.kind = "bpe";
  identity.special = special;
  return identity;
}

class HuggingFaceBytePairTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) const {
    testing::SetFileBytes(folder_.path() + "/" + name, text);
  }
  absl::StatusOr<ImportedVocabulary> Read() const {
    return VocabularyFromHuggingFace(folder_.path());
  }
  void ExpectRefused(const std::string& message) const {
    const absl::Status status = Read().status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kCheckpoint) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(folder_.path()));
  }
  // tokenizer.json as transformers 5 saves it, in its essentials, with a change.
  void WriteTokenizer(const Json& change) const {
    Json file = {
        {"added_tokens", {{{"id", 1}, {"content", "</s>"}}, {{"id", 0}, {"content", "<pad>"}}}},
        {"normalizer", nullptr},
        {"pre_tokenizer",
         {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
        {"model",
         {{"type", "BPE"},
          {"dropout", nullptr},
          {"continuing_subword_prefix", ""},
          {"end_of_word_suffix", ""},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", {{"Ġa", 4}, {"</s>", 1}, {"a", 2}, {"Ġ", 3}}},
          {"merges", Json::array({Json::array({"Ġ", "a"})})}}}};
    file.merge_patch(change);
    Write("tokenizer.json", file.dump());
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(HuggingFaceBytePairTest, FilesAsTheyAre) {
  Write("vocab.json", kVocabulary);
  ExpectRefused("neither vocab.txt nor vocab.json and merges.txt");
  Write("merges.txt", kMerges);
  const TokenizerIdentity opt = BytePairIdentity({.pad = 0, .bos = 1, .eos = 1});
  Write("tokenizer_config.json", TokenizerConfigToHuggingFace(opt, 512).dump());
  const auto vocabulary = Read();
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->kind, "bpe");
  EXPECT_THAT(vocabulary->files, ElementsAre(kVocabulary, kMerges));
}

TEST_F(HuggingFaceBytePairTest, FilesOfTokenizerJson) {
  for (const Json& merges : {Json::array({{"Ġ", "a"}}), Json::array({"Ġ a"})}) {
    WriteTokenizer({{"model", {{"merges", merges}}}});
    const auto vocabulary = Read();
    ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
    EXPECT_THAT(vocabulary->files, ElementsAre(kVocabulary, kMerges));
  }
}

TEST_F(HuggingFaceBytePairTest, ConfigurationSaysHowARowBegins) {
  const TokenizerIdentity opt = BytePairIdentity({.pad = 0, .bos = 1, .eos = 1});
  const Json of_opt = TokenizerConfigToHuggingFace(opt, 512);
  EXPECT_EQ(of_opt["add_bos_token"], true);
  EXPECT_EQ(of_opt["bos_token"], "</s>");
  EXPECT_EQ(of_opt["model_max_length"], 512);
  const TokenizerIdentity gpt2 = BytePairIdentity({.bos = 1, .eos = 1});
  const Json of_gpt2 = TokenizerConfigToHuggingFace(gpt2, 512);
  EXPECT_EQ(of_gpt2["add_bos_token"], false);
  EXPECT_EQ(of_gpt2["eos_token"], "<|endoftext|>");
  EXPECT_FALSE(of_gpt2.contains("pad_token"));
}

TEST_F(HuggingFaceBytePairTest, RefusesOtherTokenizers) {
  const auto refused = [&](const Json& change, const std::string& message) {
    WriteTokenizer(change);
    ExpectRefused(message);
  };
  refused({{"normalizer", {{"type", "NFC"}}}}, "normalizer");
  refused({{"pre_tokenizer", {{"type", "Whitespace"}}}}, "pre_tokenizer");
  refused({{"pre_tokenizer", {{"add_prefix_space", true}}}}, "add_prefix_space: true");
  refused({{"pre_tokenizer", {{"use_regex", false}}}}, "use_regex: false");
  refused({{"model", {{"dropout", 0.1}}}}, "dropout: 0.1");
  refused({{"model", {{"continuing_subword_prefix", "##"}}}}, "continuing_subword_prefix");
  refused({{"model", {{"end_of_word_suffix", "</w>"}}}}, "end_of_word_suffix");
  refused({{"model", {{"byte_fallback", true}}}}, "byte_fallback: true");
  refused({{"model", {{"ignore_merges", true}}}}, "ignore_merges: true");
  refused({{"model", {{"vocab", {{"a", 9}}}}}}, "no token has the id 2");
  refused({{"model", {{"vocab", {{"a", 3}}}}}}, "number its tokens from 0 on");
  refused({{"model", {{"vocab", {{"a", "2"}}}}}}, "number its tokens from 0 on");
  refused({{"model", {{"vocab", nullptr}}}}, "model.vocab");
  refused({{"model", {{"merges", nullptr}}}}, "model.merges");
  refused({{"model", {{"merges", {1}}}}}, "a merge is not two tokens");
  refused({{"added_tokens", {{{"id", 7}}}}}, "added_tokens");
  refused({{"added_tokens", {{{"id", 0}, {"content", "<unk>"}}}}}, "lacks </s> and <pad>");
}

TEST_F(HuggingFaceBytePairTest, RefusesFilesThatAreWrong) {
  const auto refused = [&](const std::string& merges, const std::string& message) {
    Write("merges.txt", merges);
    ExpectRefused(message);
  };
  Write("vocab.json", kVocabulary);
  refused("Ġ a\n", "do not begin with #version: 0.2");
  refused("#version: 0.2\nĠ b\n", "merges.txt:2: Ġ b");
  refused("#version: 0.2\na Ġ\n", "merges.txt:2: a Ġ");
  refused("#version: 0.2\nĠ a\nĠ a a\n", "merges.txt:3");
  refused("#version: 0.2\n\nĠ a\n", "merges.txt:2");
  Write("merges.txt", kMerges);
  EXPECT_TRUE(Read().ok()) << Read().status();
  Write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  ExpectRefused("LlamaTokenizer");
  Write("tokenizer_config.json", R"({"add_prefix_space": true})");
  ExpectRefused("add_prefix_space: true");
  Write("vocab.json", "{");
  ExpectRefused("vocabulary is not JSON");
}

}  // namespace
}  // namespace sluice
