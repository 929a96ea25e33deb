// manifest.yaml: round trip, every damaged field, shards that are not those it lists.
#include "data/manifest.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/error.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"
#include "data/dataset_writer.h"
#include "data/vocabulary_file.h"
#include "dataset_for_tests.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ManifestTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  // Replaces text in the manifest of data set `name`, which must hold it.
  void Change(const std::string& name, const std::string& from, const std::string& to) {
    const std::string path = Path(name + "/manifest.yaml");
    const std::string text = *ReadWholeFile(path);
    ASSERT_THAT(text, HasSubstr(from));
    ASSERT_TRUE(WriteFileAtomically(path, absl::StrReplaceAll(text, {{from, to}})).ok());
  }
  // Reading the manifest, or else opening its shards, is a DataError with this message.
  void ExpectBroken(const std::string& name, const std::string& message) {
    const auto manifest = ReadManifest(Path(name));
    const absl::Status status = manifest.ok() ? OpenShards(*manifest).status() : manifest.status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  TemporaryFolder folder_;
  std::vector<Document> documents_ = RandomDocuments(100, 500, 1);
};

TEST_F(ManifestTest, RoundTrip) {
  const Manifest written = WriteDataset(Path("set"), documents_, 500, /*shard_tokens=*/1000);
  EXPECT_GT(written.shards.size(), 3u);
  for (const std::string& path : {Path("set"), Path("set/manifest.yaml")}) {
    const auto read = ReadManifest(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->tokenizer, written.tokenizer);
    EXPECT_EQ(read->row_mode, "document");
    EXPECT_EQ(read->vocabulary_files, std::vector<std::string>{"vocab.txt"});
    EXPECT_EQ(read->sources, written.sources);
    EXPECT_EQ(read->total_tokens(), static_cast<int64_t>(Concatenate(documents_).size()));
    EXPECT_EQ(read->total_documents(), 100);
    EXPECT_EQ(read->shards.back().xxh3, written.shards.back().xxh3);
    EXPECT_TRUE(OpenShards(*read).ok()) << OpenShards(*read).status();
  }
  const auto vocabulary = VocabularyFile::Read({Path("set/vocab.txt")}, "wordpiece");
  ASSERT_TRUE(vocabulary.ok());
  EXPECT_EQ(vocabulary->sha256(), written.tokenizer.vocabulary_sha256);
}

TEST_F(ManifestTest, MissingAndUnreadable) {
  ExpectBroken("nothing", "manifest does not exist");
  fs::create_directory(Path("empty"));
  ExpectBroken("empty", "manifest does not exist");
  ASSERT_TRUE(WriteFileAtomically(Path("empty/manifest.yaml"), "").ok());
  ExpectBroken("empty", "manifest is damaged");
  ASSERT_TRUE(WriteFileAtomically(Path("empty/manifest.yaml"), "a: [1\nb").ok());
  ExpectBroken("empty", "manifest is not YAML");
  ASSERT_TRUE(WriteFileAtomically(Path("empty/manifest.yaml"), "- 1\n- 2\n").ok());
  ExpectBroken("empty", "manifest is damaged");
}

TEST_F(ManifestTest, DamagedFields) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"format_version: 2", "format_version: 9", "unknown format version"},
      {"format_version: 2", "format_version: one", "unknown format version"},
      {"format_version: 2\n", "", "manifest field is missing: "},
      {"row: ", "rows_are: ", "manifest field is missing: "},
      {"row: ", "colour: red\nrow: ", "manifest field is unknown: "},
      {"    tokens: ", "    tokens: -", "manifest field is out of range"},
      {"    tokens: ", "    tokens: x", "manifest field has the wrong type"},
      {"    rows: ", "    rows: 1", "totals are not the sums"},
      {"shard_00000.h5", "../shard_00000.h5", "not a plain file name"},
      {"shard_00000.h5", "shard_00007.h5", "shard does not exist"},
      {"    bytes: ", "    bytes: 1", "shard is not as long as the manifest says"},
      {"cls_id: 2", "cls_id: 500", "special token id 500"},
      {"cls_id: 2", "cls_id: 7", "cls_id 2 vs. 7"},
      {"vocabulary_size: 500", "vocabulary_size: 501", "vocabulary_size 500 vs. 501"},
      {"vocabulary_sha256: \"", "vocabulary_sha256: \"0", "another tokenizer"},
      {"cased: false", "cased: true", "cased 0 vs. 1"},
      {"kind: wordpiece", "kind: bpe", "other vocabulary files than its kind of tokenizer has"},
      {"[\"vocab.txt\"]", "[\"vocab.txt\", \"b\"]", "vocab.txt, b; expected vocab.txt"},
      {"[\"vocab.txt\"]", "vocab.txt", "manifest field has the wrong type"},
      {"eos_id: -1", "eos_id: 9", "eos_id -1 vs. 9"},
      {"format_version: 2", "format_version: 1", "manifest field has the wrong type"},
      {"format_version: 2", "format_version: 0", "unknown format version"},
  };
  int n = 0;
  for (const auto& [from, to, message] : cases) {
    SCOPED_TRACE(absl::StrCat(from, " -> ", to));
    const std::string name = absl::StrCat("set", n++);
    WriteDataset(Path(name), documents_, 500);
    Change(name, from, to);
    ExpectBroken(name, message);
  }
}

// As earlier versions wrote it: one vocabulary file, no bos and eos.
TEST_F(ManifestTest, ReadsVersion1) {
  const Manifest written = WriteDataset(Path("set"), documents_, 500);
  Change("set", "format_version: 2", "format_version: 1");
  Change("set", "[\"vocab.txt\"]", "\"vocab.txt\"");
  ExpectBroken("set", "manifest field is unknown: ");  // bos_id was none then
  Change("set", "  bos_id: -1\n  eos_id: -1\n", "");
  const auto read = ReadManifest(Path("set"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tokenizer, written.tokenizer);
  EXPECT_EQ(read->VocabularyPaths(), std::vector<std::string>{Path("set/vocab.txt")});
  EXPECT_TRUE(OpenShards(*read).ok()) << OpenShards(*read).status();
  Change("set", "vocab.txt", "../vocab.txt");
  ExpectBroken("set", "not a plain file name");
}

TEST_F(ManifestTest, AShardOfAnotherDataSet) {
  const Manifest one = WriteDataset(Path("one"), documents_, 500);
  std::vector<Document> changed = documents_;
  changed[0][0].back() = 7;  // same counts, other tokens
  WriteDataset(Path("two"), changed, 500);
  fs::copy_file(Path("two/shard_00000.h5"), Path("one/shard_00000.h5"),
                fs::copy_options::overwrite_existing);
  ExpectBroken("one", "shard is not the one that the manifest lists");
}

TEST_F(ManifestTest, FieldErrorsNameTheLine) {
  WriteDataset(Path("set"), documents_, 500);
  Change("set", "row: document", "row: [document]");
  ExpectBroken("set", "manifest.yaml:");
  const auto manifest = ReadManifest(Path("set"));
  EXPECT_THAT(std::string(manifest.status().message()),
              ::testing::ContainsRegex("wrong type: .*manifest.yaml:[0-9]+: row"));
}

DatasetWriterSettings WriterSettings(const std::string& folder, const std::string& vocabulary) {
  return {.folder = folder,
          .vocabulary_paths = {vocabulary},
          .tokenizer = WriteVocabulary(vocabulary, 100)};
}

TEST_F(ManifestTest, WriterRefusesAnExistingDataSet) {
  WriteDataset(Path("set"), documents_, 500, 1000);
  DatasetWriterSettings settings = WriterSettings(Path("set"), Path("vocab.txt"));
  auto writer = DatasetWriter::Create(settings);
  EXPECT_EQ(ExitCodeOf(writer.status()), ExitCode::kUsage);
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("already holds a data set"));
  EXPECT_TRUE(OpenShards(*ReadManifest(Path("set"))).ok());  // untouched

  settings.overwrite = true;
  writer = DatasetWriter::Create(settings);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_FALSE(fs::exists(Path("set/manifest.yaml")));  // from now on it would lie
  (*writer)->AppendRow(std::vector<int32_t>{2, 9, 3});
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_FALSE(fs::exists(Path("set/shard_00001.h5")));
  EXPECT_TRUE(OpenShards(*ReadManifest(Path("set"))).ok());
}

TEST_F(ManifestTest, WriterKeepsAVocabularyThatSomebodyLearned) {
  fs::create_directory(Path("set"));
  ASSERT_TRUE(WriteFileAtomically(Path("set/vocab.txt"), "precious\n").ok());
  const auto writer = DatasetWriter::Create(WriterSettings(Path("set"), Path("vocab.txt")));
  EXPECT_EQ(ExitCodeOf(writer.status()), ExitCode::kUsage);
  EXPECT_EQ(*ReadWholeFile(Path("set/vocab.txt")), "precious\n");
}

constexpr char kVocabularyJson[] =
    "{\"</s>\": 0, \"\u0120gate\": 1, \"\u00c3\u00a9\": 2, \"a\": 3}";

TEST_F(ManifestTest, AVocabularyOfTwoFiles) {
  const std::string json = Path("vocab.json"), merges = Path("merges.txt");
  ASSERT_TRUE(WriteFileAtomically(json, kVocabularyJson).ok());
  ASSERT_TRUE(WriteFileAtomically(merges, "#version: 0.2\n").ok());
  DatasetWriterSettings settings = WriterSettings(Path("set"), Path("vocab.txt"));
  fs::create_directory(Path("set"));
  fs::copy_file(Path("vocab.txt"), Path("set/vocab.txt"));
  settings.vocabulary_paths = {json, merges};
  settings.tokenizer = {
      .kind = "bpe",
      .cased = true,
      .vocabulary_size = 4,
      .special = {.bos = 0, .eos = 0},
      .vocabulary_sha256 = Sha256Text(absl::StrCat(kVocabularyJson, "#version: 0.2\n"))};
  const absl::Status refused = DatasetWriter::Create(settings).status();
  EXPECT_EQ(ExitCodeOf(refused), ExitCode::kUsage);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("vocabulary of another kind"));
  settings.overwrite = true;
  auto writer = DatasetWriter::Create(settings);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_FALSE(fs::exists(Path("set/vocab.txt")));
  (*writer)->AppendRow(std::vector<int32_t>{0, 1, 2, 3});
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto read = ReadManifest(Path("set"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->tokenizer, settings.tokenizer);
  EXPECT_EQ(read->vocabulary_files, (std::vector<std::string>{"vocab.json", "merges.txt"}));
  const auto shards = OpenShards(*read);
  ASSERT_TRUE(shards.ok()) << shards.status();
  EXPECT_EQ(shards->front().header().tokenizer.special.eos, 0);
  const auto vocabulary = VocabularyFile::Read(read->VocabularyPaths(), "bpe");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->sha256(), settings.tokenizer.vocabulary_sha256);
  EXPECT_EQ(vocabulary->Decode(std::vector<int32_t>{0, 1, 2, 3, 9}), "</s> gate\u00e9a<9>");
  // The merges belong to the vocabulary.
  ASSERT_TRUE(WriteFileAtomically(Path("set/merges.txt"), "#version: 0.2\n\n").ok());
  EXPECT_NE(VocabularyFile::Read(read->VocabularyPaths(), "bpe")->sha256(), vocabulary->sha256());
}

TEST_F(ManifestTest, WriterCleansUpAfterAKilledRun) {
  fs::create_directory(Path("set"));
  for (const char* name : {"shard_00003.h5", "shard_00004.h5.partial", "manifest.yaml.partial",
                           "notes.txt", "shard_backup.h5"}) {
    ASSERT_TRUE(WriteFileAtomically(Path(absl::StrCat("set/", name)), "half").ok());
  }
  auto writer = DatasetWriter::Create(WriterSettings(Path("set"), Path("vocab.txt")));
  ASSERT_TRUE(writer.ok()) << writer.status();
  (*writer)->AppendRow(std::vector<int32_t>{2, 9, 3});
  ASSERT_TRUE((*writer)->Finish().ok());
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(Path("set"))) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_THAT(names, ::testing::ElementsAre("manifest.yaml", "notes.txt", "shard_00000.h5",
                                            "shard_backup.h5", "vocab.txt"));
}

TEST_F(ManifestTest, WriterWithoutTextWritesNoManifest) {
  auto writer = DatasetWriter::Create(WriterSettings(Path("set"), Path("vocab.txt")));
  ASSERT_TRUE(writer.ok());
  const auto manifest = (*writer)->Finish();
  EXPECT_EQ(ExitCodeOf(manifest.status()), ExitCode::kData);
  EXPECT_FALSE(fs::exists(Path("set/manifest.yaml")));
}

TEST_F(ManifestTest, AWriterThatIsNotFinishedTakesAwayWhatItWrote) {
  DatasetWriterSettings settings = WriterSettings(Path("set"), Path("vocab.txt"));
  settings.shard_tokens = 2;
  for (const bool folder_was_there : {false, true}) {
    if (folder_was_there) fs::create_directory(Path("set"));
    {
      auto writer = DatasetWriter::Create(settings);
      ASSERT_TRUE(writer.ok()) << writer.status();
      (*writer)->AppendRow(std::vector<int32_t>{2, 9, 3});
      ASSERT_TRUE((*writer)->EndDocument().ok());
      ASSERT_TRUE(fs::exists(Path("set/shard_00000.h5")));
    }
    EXPECT_EQ(fs::exists(Path("set")), folder_was_there);
  }
  EXPECT_TRUE(fs::is_empty(Path("set")));
}

TEST_F(ManifestTest, WriterNeedsAFolderItCanMake) {
  ASSERT_TRUE(WriteFileAtomically(Path("file"), "").ok());
  const auto writer = DatasetWriter::Create(WriterSettings(Path("file/set"), Path("vocab.txt")));
  EXPECT_EQ(ExitCodeOf(writer.status()), ExitCode::kDevice);
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("cannot make the output folder"));
}

TEST_F(ManifestTest, Vocabulary) {
  ASSERT_TRUE(WriteFileAtomically(Path("v"), "[PAD]\nthe\n##re\n##\ncat\n").ok());
  const auto vocabulary = VocabularyFile::Read({Path("v")}, "wordpiece");
  ASSERT_TRUE(vocabulary.ok());
  EXPECT_EQ(vocabulary->size(), 5);
  EXPECT_EQ(vocabulary->Decode(std::vector<int32_t>{1, 2, 4, 3, 9, -1}), "there cat ## <9> <-1>");
  EXPECT_EQ(vocabulary->WordPieceIdentity(true).special.pad, 0);
  EXPECT_EQ(vocabulary->WordPieceIdentity(true).special.mask, -1);
  ASSERT_TRUE(WriteFileAtomically(Path("v"), "a\nb\na\n").ok());
  EXPECT_THAT(std::string(VocabularyFile::Read({Path("v")}, "wordpiece").status().message()),
              HasSubstr("v:3: \"a\" is also on line 1"));
  ASSERT_TRUE(WriteFileAtomically(Path("v"), "").ok());
  EXPECT_THAT(std::string(VocabularyFile::Read({Path("v")}, "wordpiece").status().message()),
              HasSubstr("vocabulary is empty"));
  EXPECT_EQ(ExitCodeOf(VocabularyFile::Read({folder_.path()}, "wordpiece").status()),
            ExitCode::kData);
}

}  // namespace
}  // namespace sluice::testing
