// The program sluice-data from end to end: its contract of options, exit codes and messages, and
// what it leaves behind when the disk or a signal stops it.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "data/atomic_file.h"
#include "data/manifest.h"
#include "data/nvidia_bert_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "support/compare.h"

namespace sluice::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int code = -1;  // exit code; -signal when a signal ended it
  std::string out, err;
};

class SluiceDataTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }
  std::string Write(const std::string& name, const std::string& bytes) const {
    EXPECT_TRUE(WriteFileAtomically(Path(name), bytes).ok());
    return Path(name);
  }

  // Starts the program with its output in files; `largest_file` bytes at most when > 0.
  pid_t Start(std::vector<std::string> arguments, rlim_t largest_file = 0) const {
    arguments.insert(arguments.begin(), SLUICE_DATA_PROGRAM);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const std::string out = Path("stdout"), err = Path("stderr");
    const pid_t pid = fork();
    if (pid == 0) {
      if (freopen(out.c_str(), "w", stdout) == nullptr) _exit(120);
      if (freopen(err.c_str(), "w", stderr) == nullptr) _exit(121);
      if (largest_file > 0) {
        const rlimit limit{largest_file, largest_file};
        setrlimit(RLIMIT_FSIZE, &limit);
      }
      execv(argv[0], argv.data());
      _exit(122);
    }
    return pid;
  }
  Outcome Finish(pid_t pid) const {
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    Outcome outcome;
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    outcome.out = *ReadWholeFile(Path("stdout"));
    outcome.err = *ReadWholeFile(Path("stderr"));
    return outcome;
  }
  Outcome Run(const std::vector<std::string>& arguments, rlim_t largest_file = 0) const {
    return Finish(Start(arguments, largest_file));
  }

  // Text of `documents` documents about cats, and a vocabulary learned from it.
  std::string WriteText(const std::string& name, int documents) const {
    std::string text;
    for (int d = 0; d < documents; ++d) {
      absl::StrAppend(&text, "The cat number ", d % 97,
                      " sat on the mat.\nIt was a good mat, number ", d % 89, ".\n\n");
    }
    return Write(name, text);
  }
  std::string LearnVocabulary(const std::string& text) const {
    const Outcome learned =
        Run({"learn-vocabulary", "--size", "60", "--out", Path("vocabulary"), text});
    EXPECT_EQ(learned.code, 0) << learned.err;
    return Path("vocabulary");
  }
  std::vector<std::string> Names(const std::string& folder) const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(Path(folder))) {
      names.insert(entry.path().filename().string());
    }
    return {names.begin(), names.end()};
  }

  TemporaryFolder folder_;
};

TEST_F(SluiceDataTest, FromTextToVerifiedShards) {
  const std::string text = WriteText("t.txt", 300);
  const Outcome learned = Run({"learn-vocabulary", "--tokenizer", "wordpiece", "--size", "60",
                               "--out", Path("vocabulary"), text});
  ASSERT_EQ(learned.code, 0) << learned.err;
  EXPECT_THAT(learned.out, HasSubstr("tokens      60"));
  const Outcome prepared =
      Run({"prepare", "--tokenizer", "wordpiece", "--vocabulary", Path("vocabulary"), "--row",
           "paragraph", "--shard-tokens", "3000", "--threads", "2", "--out", Path("set"), text});
  ASSERT_EQ(prepared.code, 0) << prepared.err;
  EXPECT_THAT(prepared.out, HasSubstr("documents         300\n"));
  EXPECT_THAT(prepared.out, HasSubstr("rows              600 (one a paragraph)\n"));
  EXPECT_THAT(prepared.out, HasSubstr("[UNK]             0 (0.0000 % of the tokens)\n"));
  EXPECT_EQ(prepared.err, "");

  const Outcome shown = Run({"inspect", Path("set")});
  ASSERT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("300 documents, 600 rows (one a paragraph)"));
  EXPECT_THAT(shown.out, HasSubstr("the cat number 0 sat on the mat ."));
  const Outcome json_text = Run({"inspect", "--json", "--samples", "1", Path("set/manifest.yaml")});
  ASSERT_EQ(json_text.code, 0) << json_text.err;
  const nlohmann::json json = nlohmann::json::parse(json_text.out);
  EXPECT_EQ(json["documents"], 300);
  EXPECT_EQ(json["samples"].size(), 1u);
  EXPECT_GT(json["shards"].size(), 1u);

  const Outcome verified = Run({"verify", Path("set")});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_THAT(verified.out, HasSubstr(": good: "));
  EXPECT_EQ(Run({"verify", Path("set/shard_00001.h5")}).code, 0);
  EXPECT_EQ(Run({"inspect", Path("set/shard_00001.h5")}).code, 0);
}

TEST_F(SluiceDataTest, FromTextToVerifiedShardsOfBytePairs) {
  const std::string text = WriteText("t.txt", 300);
  const Outcome learned = Run({"learn-vocabulary", "--tokenizer", "bpe", "--size", "320", "--out",
                               Path("vocabulary"), text});
  ASSERT_EQ(learned.code, 0) << learned.err;
  EXPECT_THAT(learned.out, HasSubstr("vocabulary/vocab.json\ntokens      320\n"));
  EXPECT_THAT(learned.out, HasSubstr("bytes       256 of 256 kept\n"));
  const Outcome prepared = Run({"prepare", "--tokenizer", "bpe", "--vocabulary", Path("vocabulary"),
                                "--out", Path("set"), text});
  ASSERT_EQ(prepared.code, 0) << prepared.err;
  EXPECT_THAT(prepared.out, HasSubstr(", </s> included\n"));
  EXPECT_THAT(prepared.out, Not(HasSubstr("[UNK]")));
  EXPECT_THAT(Names("set"), ::testing::ElementsAre("manifest.yaml", "merges.txt", "shard_00000.h5",
                                                   "vocab.json"));
  for (const char* path : {"set", "set/shard_00000.h5"}) {
    const Outcome shown = Run({"inspect", Path(path)});
    ASSERT_EQ(shown.code, 0) << shown.err;
    EXPECT_THAT(shown.out, HasSubstr("tokenizer   bpe, cased, vocabulary of 320"));
    EXPECT_THAT(shown.out, HasSubstr("special     pad 1  unk 3  bos 2  eos 2\n"));
    EXPECT_THAT(shown.out, HasSubstr("</s>The cat number 0 sat on the mat.\nIt was"));
  }
  const Outcome json = Run({"inspect", "--json", Path("set")});
  EXPECT_EQ(nlohmann::json::parse(json.out)["tokenizer"]["eos_id"], 2);
  EXPECT_EQ(Run({"verify", Path("set")}).code, 0);
  std::ofstream(Path("set/merges.txt"), std::ios::app) << "c a\n";
  const Outcome changed = Run({"verify", Path("set")});
  EXPECT_EQ(changed.code, 2);
  EXPECT_THAT(changed.err, HasSubstr("vocabulary is not the one that the manifest names"));
}

TEST_F(SluiceDataTest, HelpHasAnExample) {
  for (const char* command : {"learn-vocabulary", "prepare", "inspect", "verify"}) {
    const Outcome help = Run({command, "--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr(absl::StrCat("sluice-data ", command, " ")));
  }
  EXPECT_EQ(Run({"--help"}).code, 0);
}

TEST_F(SluiceDataTest, UsageErrorsAre1) {
  const std::string text = WriteText("t.txt", 3);
  const std::string vocabulary = LearnVocabulary(text);
  const std::vector<std::string> prepare = {"prepare", "--vocabulary", vocabulary, "--out",
                                            Path("set")};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), prepare.begin(), prepare.end());
    return more;
  };
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "a subcommand is missing: known: learn-vocabulary, prepare, inspect, verify"},
      {{"cook"}, "not expected: cook"},
      {{"prepare", text}, "--vocabulary is required"},
      {with({}), "TEXT is required"},
      {with({"--shard-tokens", "0", text}), "--shard-tokens"},
      {with({"--threads", "-1", text}), "--threads"},
      {with({"--colour", "red", text}), "--colour"},
      {with({"--row", "page", text}), "known: document, paragraph, line"},
      {with({"--tokenizer", "unigram", text}), "known: wordpiece, bpe"},
      {with({"--tokenizer", "bpe", text}), "another kind than asked for"},
      {{"learn-vocabulary", "--tokenizer", "unigram", "--out", Path("v"), text},
       "known: wordpiece, bpe"},
      {{"learn-vocabulary", "--tokenizer", "bpe", "--size", "259", "--out", Path("v"), text},
       "size 259, needed 260 for 4 special tokens and 256 bytes"},
      {{"inspect"}, "PATH is required"},
  };
  for (const auto& [arguments, message] : cases) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(absl::StrCat(outcome.out, outcome.err), HasSubstr(message));
  }
  Write("file", "");
  const Outcome outcome =
      Run({"prepare", "--vocabulary", vocabulary, "--out", Path("file/set"), text});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.err, HasSubstr("cannot make the output folder"));
}

TEST_F(SluiceDataTest, BadTextsAre2) {
  const std::string vocabulary = LearnVocabulary(WriteText("t.txt", 30));
  const auto prepare = [&](const std::string& text) {
    return Run({"prepare", "--vocabulary", vocabulary, "--out", Path("set"), text});
  };
  ASSERT_EQ(std::system(absl::StrCat("xz -k '", Path("t.txt"), "'").c_str()), 0);
  ASSERT_EQ(prepare(Path("t.txt.xz")).code, 0);
  fs::remove_all(Path("set"));
  fs::resize_file(Path("t.txt.xz"), fs::file_size(Path("t.txt.xz")) / 2);
  for (const std::string& text : {Path("t.txt.xz"), Path("missing.txt"), folder_.path(),
                                  Write("empty.txt", ""), Write("blank.txt", "\n \n")}) {
    const Outcome outcome = prepare(text);
    EXPECT_EQ(outcome.code, 2) << text << ": " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(text));
    EXPECT_FALSE(fs::exists(Path("set/manifest.yaml")));
  }
}

TEST_F(SluiceDataTest, IllFormedTextIsRepairedAndSaid) {
  const std::string vocabulary = LearnVocabulary(WriteText("t.txt", 30));
  const Outcome outcome = Run({"prepare", "--vocabulary", vocabulary, "--out", Path("set"),
                               Write("bad.txt", "the c\xE2\x82t sat\xFF\n")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("2 ill-formed sequences"));
  EXPECT_THAT(outcome.out, HasSubstr("ill-formed UTF-8  2 sequences"));
}

TEST_F(SluiceDataTest, DamagedShardsAre2) {
  const std::string text = WriteText("t.txt", 3000);
  ASSERT_EQ(
      Run({"prepare", "--vocabulary", LearnVocabulary(text), "--out", Path("set"), text}).code, 0);
  const std::string shard = Path("set/shard_00000.h5");
  // In the midst of the tokens: they are most of the file.
  const auto at = static_cast<std::streamoff>(fs::file_size(shard) / 2);
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const int byte = file.get();
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 0x10));
  file.close();
  for (const std::string& path : {Path("set"), shard}) {
    const Outcome outcome = Run({"verify", path});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, HasSubstr(absl::StrCat("cannot read tokens: ", shard)));
    EXPECT_THAT(outcome.err, Not(HasSubstr("HDF5-DIAG")));
  }
  EXPECT_EQ(Run({"verify", Path("t.txt")}).code, 2);
  EXPECT_EQ(Run({"inspect", Path("nothing")}).code, 2);
  fs::remove(shard);
  const Outcome missing = Run({"inspect", Path("set")});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr(absl::StrCat("shard does not exist: ", shard)));
}

TEST_F(SluiceDataTest, FilesOfNvidiasLayout) {
  fs::create_directory(Path("set"));
  NvidiaBertData data = RandomNvidiaBert(40, 16, 3, 90, 1);
  WriteNvidiaBert(Path("set/a.hdf5"), data);
  WriteNvidiaBert(Path("set/b.hdf5"), RandomNvidiaBert(7, 16, 3, 90, 2));
  for (const std::string& path : {Path("set"), Path("set/b.hdf5")}) {
    const Outcome verified = Run({"verify", path});
    EXPECT_EQ(verified.code, 0) << verified.err;
    EXPECT_THAT(verified.out, HasSubstr(absl::StrCat(path, ": good: ")));
    EXPECT_THAT(verified.out, HasSubstr(", largest id 8"));
    const Outcome shown = Run({"inspect", "--json", "--samples", "2", path});
    EXPECT_EQ(shown.code, 0) << shown.err;
    const nlohmann::json json = nlohmann::json::parse(shown.out);
    EXPECT_EQ(json["sequence_length"], 16);
    EXPECT_EQ(json["samples"].size(), 2u);
  }
  EXPECT_THAT(Run({"inspect", Path("set")}).out, HasSubstr("NVIDIA BERT, 2 files, 47 rows of 16"));
  data.At("masked_lm_positions", 39, 2) = 16;
  WriteNvidiaBert(Path("set/a.hdf5"), data);
  const Outcome wrong = Run({"verify", Path("set")});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr(absl::StrCat(Path("set/a.hdf5"), ": masked_lm_positions[39, ")));
  EXPECT_THAT(wrong.err, Not(HasSubstr("HDF5-DIAG")));
  WriteNvidiaBert(Path("set/b.hdf5"), data, {.left_out = {"segment_ids"}});
  for (const char* command : {"inspect", "verify"}) {
    const Outcome outcome = Run({command, Path("set/b.hdf5")});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("dataset is missing"));
    EXPECT_THAT(outcome.err, Not(HasSubstr("HDF5-DIAG")));
  }
}

TEST_F(SluiceDataTest, ADataSetIsNotOverwrittenByAccident) {
  const std::string text = WriteText("t.txt", 30);
  std::vector<std::string> arguments = {"prepare", "--vocabulary", LearnVocabulary(text),
                                        "--out",   Path("set"),    text};
  ASSERT_EQ(Run(arguments).code, 0);
  const Outcome again = Run(arguments);
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("already holds a data set"));
  arguments.insert(arguments.begin() + 1, "--overwrite");
  EXPECT_EQ(Run(arguments).code, 0);
  EXPECT_EQ(Run({"verify", Path("set")}).code, 0);
}

// A write that the system refuses, as on a full disk: here by a limit on the size of files.
TEST_F(SluiceDataTest, ARefusedWriteIsAnErrorAndLeavesNoDataSet) {
  const std::string text = WriteText("t.txt", 20000);
  const std::string vocabulary = LearnVocabulary(text);
  const Outcome outcome =
      Run({"prepare", "--vocabulary", vocabulary, "--out", Path("set"), text}, 100'000);
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("cannot write file"));
  EXPECT_THAT(outcome.err, HasSubstr("shard_00000.h5"));
  EXPECT_THAT(outcome.err, HasSubstr("File too large"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("HDF5-DIAG")));
  EXPECT_FALSE(fs::exists(Path("set")));
  EXPECT_EQ(Run({"inspect", Path("set")}).code, 2);
  EXPECT_EQ(Run({"prepare", "--vocabulary", vocabulary, "--out", Path("set"), text}).code, 0);
}

TEST_F(SluiceDataTest, AKilledRunLeavesNoDataSetAndTheNextOneCleansUp) {
  const std::string text = WriteText("t.txt", 50000);
  const std::string vocabulary = LearnVocabulary(text);
  const std::vector<std::string> arguments = {
      "prepare", "--vocabulary", vocabulary, "--shard-tokens", "20000", "--out", Path("set"), text};
  const pid_t pid = Start(arguments);
  for (int i = 0; i < 20000 && !fs::exists(Path("set/shard_00001.h5")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(pid, SIGKILL);
  const Outcome killed = Finish(pid);
  ASSERT_EQ(killed.code, -SIGKILL) << "it was done before it could be killed";
  EXPECT_FALSE(fs::exists(Path("set/manifest.yaml")));
  EXPECT_EQ(Run({"inspect", Path("set")}).code, 2);
  std::vector<std::string> coarser = arguments;
  coarser[4] = "1000000";
  ASSERT_EQ(Run(coarser).code, 0);
  EXPECT_THAT(Names("set"), ::testing::ElementsAre("manifest.yaml", "shard_00000.h5",
                                                   "shard_00001.h5", "vocab.txt"));
  EXPECT_EQ(Run({"verify", Path("set")}).code, 0);
}

}  // namespace
}  // namespace sluice::testing
