// Text files as lines and documents: line ends, archives whole and damaged, ill-formed UTF-8.
#include "data_tools/text/text_reader.h"

#include <fcntl.h>
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/compare.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

using Document = std::vector<std::string>;

struct Result {
  std::vector<Document> documents;
  TextStatistics statistics;
  absl::Status status;
};

Result ReadDocuments(std::vector<std::string> paths) {
  Result result;
  auto reader = TextReader::Open(std::move(paths));
  if (!reader.ok()) return {{}, {}, reader.status()};
  Document document;
  while (true) {
    const absl::StatusOr<bool> more = (*reader)->NextDocument(&document);
    result.statistics = (*reader)->statistics();
    result.status = more.status();
    if (!more.ok() || !*more) return result;
    result.documents.push_back(document);
  }
}

std::vector<std::string> ReadLines(std::vector<std::string> paths) {
  auto reader = TextReader::Open(std::move(paths));
  EXPECT_TRUE(reader.ok()) << reader.status();
  std::vector<std::string> lines;
  std::string line;
  while (true) {
    const absl::StatusOr<bool> more = (*reader)->NextLine(&line);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return lines;
    lines.push_back(line);
  }
}

std::string Xz(const std::string& text) {
  std::string packed(lzma_stream_buffer_bound(text.size()), '\0');
  size_t bytes = 0;
  CHECK_EQ(lzma_easy_buffer_encode(
               1, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
               text.size(), reinterpret_cast<uint8_t*>(packed.data()), &bytes, packed.size()),
           LZMA_OK);
  return packed.substr(0, bytes);
}

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  CHECK_EQ(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

class TextReaderTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& bytes) {
    const std::string path = absl::StrCat(folder_.path(), "/", name);
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static void ExpectDataError(const absl::Status& status, const std::string& words) {
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kData) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }
  TemporaryFolder folder_;
};

TEST_F(TextReaderTest, BlankLinesAndFilesEndDocuments) {
  const std::string first = Write("first", "\n\none\ntwo\n \t\n\nthree\r\n\r\nfour");
  const std::string second = Write("second", "five\n");
  const Result result = ReadDocuments({first, second});
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_THAT(result.documents, ElementsAre(Document{"one", "two"}, Document{"three"},
                                            Document{"four"}, Document{"five"}));
  EXPECT_EQ(result.statistics.files, 2);
  EXPECT_EQ(result.statistics.documents, 4);
  EXPECT_EQ(result.statistics.paragraphs, 5);
  EXPECT_EQ(result.statistics.lines, 10);
  EXPECT_EQ(result.statistics.bytes, 32);
  EXPECT_EQ(result.statistics.invalid_sequences, 0);
}

TEST_F(TextReaderTest, LinesKeepTheBlankOnes) {
  const std::string path = Write("a", "one\n\n two\r\nthree\r");
  EXPECT_THAT(ReadLines({path, path}),
              ElementsAre("one", "", " two", "three", "one", "", " two", "three"));
}

TEST_F(TextReaderTest, AnEmptyFileHasNoDocuments) {
  const Result result = ReadDocuments({Write("empty", ""), Write("blank", "\n\r\n  \n")});
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.documents.empty());
  EXPECT_EQ(result.statistics.lines, 3);
}

TEST_F(TextReaderTest, ArchivesAreKnownByTheirContent) {
  const std::string text = "one\n\ntwo\nthree";
  const std::vector<Document> expected = {{"one"}, {"two", "three"}};
  for (const std::string& path :
       {Write("a.xz", Xz(text)), Write("a.gz", Gzip(text)), Write("b.txt", Xz(text)),
        Write("c", Gzip(text)), Write("two.xz", Xz("one\n\ntw") + Xz("o\nthree")),
        Write("two.gz", Gzip("one\n\ntw") + Gzip("o\nthree"))}) {
    const Result result = ReadDocuments({path});
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.documents, expected) << path;
  }
  ExpectDataError(ReadDocuments({Write("plain.xz", text)}).status, "no xz archive");
  ExpectDataError(ReadDocuments({Write("plain.gz", text)}).status, "no gzip archive");
  ExpectDataError(ReadDocuments({Write("empty.xz", "")}).status, "no xz archive");
}

TEST_F(TextReaderTest, TruncatedArchivesAreNamed) {
  std::string text;
  for (int i = 0; i < 3000; ++i) absl::StrAppend(&text, "line ", i * 7919 % 10007, "\n");
  for (const bool xz : {true, false}) {
    const std::string packed = xz ? Xz(text) : Gzip(text);
    for (size_t bytes = 6; bytes < packed.size(); bytes += packed.size() / 50) {
      const std::string path = Write("cut", packed.substr(0, bytes));
      const Result result = ReadDocuments({path});
      ExpectDataError(result.status, absl::StrCat("archive is truncated: ", path));
    }
  }
}

TEST_F(TextReaderTest, DamagedArchivesAreNamed) {
  std::string text;
  for (int i = 0; i < 3000; ++i) absl::StrAppend(&text, "line ", i * 7919 % 10007, "\n");
  for (std::string packed : {Xz(text), Gzip(text)}) {
    for (size_t i = 0; i < 40; ++i) packed[packed.size() / 2 + i] ^= 0x5A;
    const std::string path = Write("bad", packed);
    ExpectDataError(ReadDocuments({path}).status, absl::StrCat("archive is damaged: ", path));
  }
  ExpectDataError(ReadDocuments({Write("tail.gz", Gzip(text) + "more")}).status, "is damaged");
}

TEST_F(TextReaderTest, IllFormedUtf8IsReplacedAndCounted) {
  const Result result =
      ReadDocuments({Write("a",
                           "a\xFF"
                           "b\n\xC3\xA9\xE2\x82 \xED\xA0\x80\n\ncut \xF0\x9F\x98")});
  ASSERT_TRUE(result.status.ok()) << result.status;
  // As Python's bytes.decode("utf-8", "replace").
  EXPECT_THAT(result.documents, ElementsAre(Document{"a\uFFFDb", "é\uFFFD \uFFFD\uFFFD\uFFFD"},
                                            Document{"cut \uFFFD"}));
  EXPECT_EQ(result.statistics.invalid_sequences, 6);
}

TEST_F(TextReaderTest, ByteOrderMarks) {
  EXPECT_THAT(ReadLines({Write("a", "\xEF\xBB\xBFone\n\xEF\xBB\xBFtwo\n")}),
              ElementsAre("one", "\uFEFFtwo"));
  const std::string utf16("\xFF\xFEo\0n\0e\0", 8);
  ExpectDataError(ReadDocuments({Write("b", utf16)}).status,
                  absl::StrCat("UTF-16, not UTF-8: ", folder_.path(), "/b:1"));
}

TEST_F(TextReaderTest, LinesMayBeLongerThanAnyBuffer) {
  std::string text;
  std::vector<std::string> expected;
  for (const size_t bytes : {size_t{1} << 18, (size_t{1} << 18) - 1, size_t{3000000}, size_t{5}}) {
    expected.push_back(std::string(bytes, static_cast<char>('a' + expected.size())));
    absl::StrAppend(&text, expected.back(), "\r\n");
  }
  for (const std::string& path : {Write("a", text), Write("a.xz", Xz(text))}) {
    EXPECT_TRUE(ReadLines({path}) == expected) << path;
  }
}

TEST_F(TextReaderTest, ATextWithoutBlankLinesIsNotOneDocument) {
  const std::string path = absl::StrCat(folder_.path(), "/lines");
  std::ofstream(path) << "one\n\ntwo\nthree\nfour\n";
  auto reader = TextReader::Open({path});
  ASSERT_TRUE(reader.ok());
  (*reader)->set_longest_document_bytes(10);
  Document document;
  EXPECT_TRUE(*(*reader)->NextDocument(&document));
  const absl::Status status = (*reader)->NextDocument(&document).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kData);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lines"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--row line"));
}

TEST_F(TextReaderTest, RefusesWhatIsNoFile) {
  ExpectDataError(ReadDocuments({folder_.path()}).status,
                  absl::StrCat("text is a folder, not a file: ", folder_.path()));
  const std::string good = Write("good", "one\n");
  // Found before anything is read.
  const auto missing = TextReader::Open({good, folder_.path() + "/none"});
  ExpectDataError(missing.status(), absl::StrCat("cannot open text: ", folder_.path(), "/none"));
  EXPECT_EQ(ExitCodeOf(TextReader::Open({}).status()), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(TextReader::Open({"-", good, "-"}).status()), ExitCode::kUsage);
}

TEST_F(TextReaderTest, AHyphenIsStandardInput) {
  for (const std::string& bytes : {std::string("one\n\ntwo\n"), Xz("one\n\ntwo\n")}) {
    const int file = open(Write("input", bytes).c_str(), O_RDONLY);
    const int before = dup(STDIN_FILENO);
    ASSERT_GE(dup2(file, STDIN_FILENO), 0);
    const Result result = ReadDocuments({"-"});
    dup2(before, STDIN_FILENO);
    close(before);
    close(file);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_THAT(result.documents, ElementsAre(Document{"one"}, Document{"two"}));
  }
}

}  // namespace
}  // namespace sluice
