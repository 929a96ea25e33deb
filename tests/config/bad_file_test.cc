// Files that cannot be read, chains of files that cannot be followed, and many problems at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "complaint.h"

namespace sluice {
namespace {

using testing::HasSubstr;

TEST(BadFileTest, MissingFolderOrNoMapping) {
  TemporaryFolder folder;
  EXPECT_EQ(Complaint(folder), "configuration file does not exist: run.yaml");
  folder.Write("folder.yaml/x", "");
  EXPECT_EQ(Complaint(folder, {}, "folder.yaml"), "configuration file is a folder: folder.yaml");
  folder.Write("run.yaml", "");
  EXPECT_EQ(Complaint(folder), "configuration is empty: run.yaml");
  folder.Write("run.yaml", "# nothing\n---\n");
  EXPECT_EQ(Complaint(folder), "configuration is empty: run.yaml");
  folder.Write("run.yaml", "\n- a\n- b\n");
  EXPECT_EQ(Complaint(folder), "configuration is not a mapping: run.yaml:2: found a list");
  folder.Write("run.yaml", "hello\n");
  EXPECT_EQ(Complaint(folder), "configuration is not a mapping: run.yaml:1: found 'hello'");
  folder.Write("run.yaml", std::string((1 << 20) + 1, ' '));
  EXPECT_EQ(Complaint(folder), "not a configuration: longer than 1 MiB: run.yaml");
}

TEST(BadFileTest, DeepNestingDoesNotExhaustTheStack) {
  TemporaryFolder folder;
  folder.Write("run.yaml", std::string(200000, '['));
  EXPECT_THAT(Complaint(folder), HasSubstr("YAML syntax error: run.yaml"));
  folder.Write("run.yaml", absl::StrCat("a: ", std::string(200000, '{')));
  EXPECT_THAT(Complaint(folder), HasSubstr("YAML syntax error: run.yaml"));
}

TEST(BadFileTest, StrayPunctuationAtTheTopEnds) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "\n, a: b\n");
  EXPECT_EQ(Complaint(folder), "YAML syntax error: run.yaml:2: nothing can begin like this");
  for (const char* text : {"}\n", "]\n"}) {
    folder.Write("run.yaml", text);
    EXPECT_EQ(Complaint(folder), "YAML syntax error: run.yaml:1: illegal flow end");
  }
}

TEST(BadFileTest, SelfContainingNodesEnd) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "data: {train: t}\nmodel: &m\n  attention: *m\n");
  EXPECT_EQ(Complaint(folder),
            "unknown key: run.yaml:3: model.attention.attention, did you mean model.attention?");
}

TEST(BadFileTest, MissingDataIsExplained) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "training: {steps: 5}\n");
  EXPECT_EQ(Complaint(folder),
            "missing key: data.train \"\" (default), set it in the file or with data.train=…: "
            "Training data: the shards' manifest.yaml or its folder; or a file of NVIDIA's BERT "
            "layout, a folder of them or a list of their names (.txt)");
}

TEST(ExtendsTest, Circle) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "extends: b.yaml\n");
  folder.Write("b.yaml", "\nextends: ./run.yaml\n");
  EXPECT_EQ(Complaint(folder),
            "extends goes in a circle: b.yaml:2: run.yaml extends b.yaml extends run.yaml");
  folder.Write("run.yaml", "extends: run.yaml\n");
  EXPECT_EQ(Complaint(folder), "extends goes in a circle: run.yaml:1: run.yaml extends run.yaml");
}

TEST(ExtendsTest, MissingOrWrong) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "name: a\nextends: none.yaml\n");
  EXPECT_EQ(Complaint(folder),
            "configuration file does not exist: none.yaml: extended at run.yaml:2");
  folder.Write("run.yaml", "extends: [a, b]\n");
  EXPECT_EQ(Complaint(folder),
            "extends is not a file name: run.yaml:1: extends: a list, expected one file");
  folder.Write("run.yaml", "extends: a.yaml\nextends: a.yaml\n");
  folder.Write("a.yaml", "data: {train: t}\n");
  EXPECT_EQ(Complaint(folder), "duplicate key: run.yaml:2: 'extends', first set at line 1");
}

TEST(ExtendsTest, ProblemsNameTheFileThatHasThem) {
  TemporaryFolder folder;
  folder.Write("run.yaml", "extends: sub/base.yaml\nmodel: {hidden_size: 24}\n");
  folder.Write("sub/base.yaml", "data:\n  train: t\nmodel:\n  num_attention_heads: 5\n");
  EXPECT_EQ(Complaint(folder),
            "hidden size is not divisible by the number of heads: model.hidden_size 24 "
            "(run.yaml:2), model.num_attention_heads 5 (sub/base.yaml:4)");
}

TEST(ManyProblemsTest, AreReportedTogether) {
  TemporaryFolder folder;
  folder.Write("run.yaml",
               "model:\n  hiden_size: 8\n  num_attention_heads: x\ntraining: {steps: 0}\n"
               "schedule: {warmup_steps: 99}\n");
  EXPECT_EQ(Complaint(folder, {"data.train=t", "data.sequence_length=1024", "optimizer.eps=x"}),
            "5 problems: run.yaml\n"
            "  1. unknown key: run.yaml:2: model.hiden_size, did you mean model.hidden_size?\n"
            "  2. not an integer: run.yaml:3: model.num_attention_heads: 'x', expected an integer "
            "from 1 to 1024\n"
            "  3. out of range: run.yaml:4: training.steps: '0', expected an integer from 1 to "
            "1000000000000\n"
            "  4. not a number: override 3: optimizer.eps: 'x', expected a number from 0.0 to 1.0, "
            "0.0 excluded\n"
            "  5. rows are longer than the position embedding: data.sequence_length 1024 "
            "(override 2), model.max_position_embeddings 512 (default)");
}

TEST(ManyProblemsTest, StopAtTwenty) {
  TemporaryFolder folder;
  std::string yaml = "data: {train: t}\n";
  for (int i = 0; i < 23; ++i) absl::StrAppend(&yaml, "unheard_of_", i, ": 1\n");
  folder.Write("run.yaml", yaml);
  const std::string complaint = Complaint(folder);
  EXPECT_THAT(complaint, HasSubstr("23 problems: run.yaml\n  1. unknown key: run.yaml:2: "));
  EXPECT_THAT(complaint, HasSubstr("\n  20. unknown key: run.yaml:21: unheard_of_19"));
  EXPECT_THAT(complaint, testing::EndsWith("\n  and 3 more"));
  EXPECT_THAT(complaint, testing::Not(HasSubstr("unheard_of_20")));
}

}  // namespace
}  // namespace sluice
