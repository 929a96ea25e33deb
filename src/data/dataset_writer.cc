#include "data/dataset_writer.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

// Sets `made` when the folder was not there.
absl::Status PrepareFolder(const std::string& folder, bool* made) {
  std::error_code error;
  *made = fs::create_directories(folder, error);
  if (error) return DeviceError("cannot make the output folder", folder, error.message());
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return DeviceError("cannot write to the output folder", folder);
  }
  return absl::OkStatus();
}

// Whether `name` is a file that a run of ours leaves: shard_NNNNN.h5, or one half written.
bool IsOurs(absl::string_view name) {
  const bool partial = absl::ConsumeSuffix(&name, kPartialFileEnding);
  for (const char* copied :
       {kManifestFileName, kVocabularyFileName, kVocabularyJsonFileName, kMergesFileName}) {
    if (name == copied) return partial;
  }
  if (!absl::ConsumePrefix(&name, "shard_") || !absl::ConsumeSuffix(&name, ".h5")) return false;
  return name.size() >= 5 && std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
}

// Removes what an earlier run of ours left: shards, partial files, and the manifest first of all,
// because from then on it would lie.
absl::Status RemoveEarlierFiles(const std::string& folder) {
  std::error_code error;
  fs::remove(fs::path(folder) / kManifestFileName, error);
  if (error) return DeviceError("cannot remove the earlier manifest", folder, error.message());
  std::vector<fs::path> earlier;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (IsOurs(entry.path().filename().string())) earlier.push_back(entry);
  }
  if (error) return DeviceError("cannot list folder", folder, error.message());
  for (const fs::path& file : earlier) {
    fs::remove(file, error);
    if (error) return DeviceError("cannot remove earlier file", file.string(), error.message());
  }
  return absl::OkStatus();
}

// The folder's vocabulary of another kind of tokenizer: files that the copies do not replace.
std::vector<std::string> OtherVocabularyFiles(const Manifest& manifest) {
  std::vector<std::string> others;
  for (const char* name : {kVocabularyFileName, kVocabularyJsonFileName, kMergesFileName}) {
    const bool is_replaced =
        std::count(manifest.vocabulary_files.begin(), manifest.vocabulary_files.end(), name) > 0;
    const std::string path = manifest.Beside(name);
    if (!is_replaced && fs::exists(path)) others.push_back(path);
  }
  return others;
}

// UsageError when a file holds something else than it is to hold.
absl::Status RefuseOtherContent(const std::string& path, const std::string& bytes) {
  if (!fs::exists(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string present, ReadWholeFile(path));
  if (present == bytes) return absl::OkStatus();
  return UsageError("folder already holds another vocabulary", path,
                    "choose another folder or say --overwrite");
}

}  // namespace

DatasetWriter::DatasetWriter(const DatasetWriterSettings& settings, Manifest manifest)
    : settings_(settings), manifest_(std::move(manifest)), writer_(settings.tokenizer) {}

absl::StatusOr<std::unique_ptr<DatasetWriter>> DatasetWriter::Create(
    const DatasetWriterSettings& settings) {
  CHECK_GT(settings.shard_tokens, 0);
  Manifest manifest{.path = (fs::path(settings.folder) / kManifestFileName).string(),
                    .tokenizer = settings.tokenizer,
                    .vocabulary_files = VocabularyFileNames(settings.tokenizer.kind),
                    .row_mode = settings.row_mode,
                    .sources = settings.sources};
  CHECK_EQ(settings.vocabulary_paths.size(), manifest.vocabulary_files.size());
  std::vector<VocabularyCopy> copies;
  std::string all_bytes;
  for (size_t i = 0; i < settings.vocabulary_paths.size(); ++i) {
    ASSIGN_OR_RETURN(std::string bytes, ReadWholeFile(settings.vocabulary_paths[i]));
    all_bytes += bytes;
    copies.push_back({manifest.Beside(manifest.vocabulary_files[i]), std::move(bytes)});
  }
  CHECK_EQ(Sha256Text(all_bytes), settings.tokenizer.vocabulary_sha256);
  auto writer = std::unique_ptr<DatasetWriter>(new DatasetWriter(settings, std::move(manifest)));
  RETURN_IF_ERROR(writer->MakeFolder(copies));
  return writer;
}

DatasetWriter::~DatasetWriter() {
  std::error_code error;  // what cannot be removed is left to the next run
  for (const std::string& path : written_) fs::remove(path, error);
  if (made_folder_) fs::remove(settings_.folder, error);  // refused unless it is empty
}

absl::Status DatasetWriter::MakeFolder(const std::vector<VocabularyCopy>& copies) {
  RETURN_IF_ERROR(PrepareFolder(settings_.folder, &made_folder_));
  const std::vector<std::string> others = OtherVocabularyFiles(manifest_);
  if (!settings_.overwrite) {
    if (fs::exists(manifest_.path)) {
      return UsageError("folder already holds a data set", manifest_.path,
                        "choose another folder or say --overwrite");
    }
    if (!others.empty()) {
      return UsageError("folder already holds a vocabulary of another kind", others.front(),
                        "choose another folder or say --overwrite");
    }
    for (const VocabularyCopy& copy : copies)
      RETURN_IF_ERROR(RefuseOtherContent(copy.path, copy.bytes));
  }
  RETURN_IF_ERROR(RemoveEarlierFiles(settings_.folder));
  for (const std::string& path : others) {
    std::error_code error;
    fs::remove(path, error);
    if (error) return DeviceError("cannot remove earlier file", path, error.message());
  }
  for (const VocabularyCopy& copy : copies) {
    if (!fs::exists(copy.path)) written_.push_back(copy.path);
    RETURN_IF_ERROR(WriteFileAtomically(copy.path, copy.bytes));
  }
  return absl::OkStatus();
}

absl::Status DatasetWriter::EndDocument() {
  writer_.EndDocument();
  if (writer_.token_count() >= settings_.shard_tokens) return WriteShard();
  return absl::OkStatus();
}

absl::Status DatasetWriter::WriteShard() {
  const std::string name = absl::StrFormat("shard_%05d.h5", manifest_.shards.size());
  ASSIGN_OR_RETURN(const ShardSummary summary, writer_.Write(manifest_.Beside(name)));
  written_.push_back(manifest_.Beside(name));
  manifest_.shards.push_back({.file = name,
                              .tokens = summary.header.token_count,
                              .documents = summary.header.document_count,
                              .rows = summary.header.row_count,
                              .bytes = summary.file_bytes,
                              .xxh3 = summary.header.xxh3});
  return absl::OkStatus();
}

absl::StatusOr<Manifest> DatasetWriter::Finish() {
  writer_.EndDocument();
  if (writer_.token_count() > 0) RETURN_IF_ERROR(WriteShard());
  if (manifest_.shards.empty()) return DataError("the text has no words", settings_.folder);
  RETURN_IF_ERROR(WriteManifest(manifest_));
  written_.clear();
  made_folder_ = false;
  return manifest_;
}

}  // namespace sluice
