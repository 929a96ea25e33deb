#include "checkpoint/manifest.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"
#include "checkpoint/yaml_fields.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {
namespace {

constexpr char kOwnChecksumKey[] = "manifest_xxh3: ";

absl::StatusOr<ManifestEntry> ReadEntry(const YAML::Node& node, const std::string& where) {
  ASSIGN_OR_RETURN(YamlFields fields, YamlFields::Of(node, where));
  ManifestEntry entry;
  RETURN_IF_ERROR(fields.Read("name", entry.name));
  RETURN_IF_ERROR(fields.Read("bytes", entry.identity.bytes));
  RETURN_IF_ERROR(fields.Read("xxh3", entry.identity.xxh3));
  RETURN_IF_ERROR(fields.ExpectNoOthers());
  if (entry.name.empty() || entry.name.find('/') != std::string::npos || entry.name[0] == '.') {
    return CheckpointError("a file name is not one", where, entry.name);
  }
  return entry;
}

}  // namespace

bool CheckpointManifest::Has(const std::string& name) const {
  return std::ranges::any_of(files, [&](const ManifestEntry& file) { return file.name == name; });
}

absl::Status WriteManifest(const std::string& folder, int64_t step,
                           const std::vector<std::string>& names) {
  std::string text =
      absl::StrCat("format: ", kCheckpointFormatName,
                   "\nformat_version: ", kCheckpointFormatVersion, "\nstep: ", step, "\nfiles:\n");
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const FileIdentity identity, IdentifyFile(absl::StrCat(folder, "/", name)));
    absl::StrAppend(&text, "  - {name: ", YamlQuoted(name), ", bytes: ", identity.bytes,
                    ", xxh3: \"", identity.xxh3, "\"}\n");
  }
  absl::StrAppend(&text, kOwnChecksumKey, "\"", Xxh3Of(text), "\"\n");
  return WriteDurably(absl::StrCat(folder, "/", kManifestFile), text);
}

absl::StatusOr<CheckpointManifest> ReadManifest(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kManifestFile);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return CheckpointError("manifest is missing: not a checkpoint, or one that was not finished",
                           path);
  }
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  ASSIGN_OR_RETURN(YamlFields fields, YamlFields::Parse(text, path));
  std::string format, checksum;
  int64_t version = 0;
  RETURN_IF_ERROR(fields.Read("format", format));
  if (format != kCheckpointFormatName) {
    return CheckpointError("manifest is of something else", path, format);
  }
  RETURN_IF_ERROR(fields.Read("format_version", version));
  if (version != kCheckpointFormatVersion) {
    return CheckpointError(
        "unknown format version", path,
        absl::StrCat(version, ", this program reads ", kCheckpointFormatVersion));
  }
  RETURN_IF_ERROR(fields.Read("manifest_xxh3", checksum));
  const size_t covered = text.rfind(kOwnChecksumKey);
  if (covered == std::string::npos || Xxh3Of(text.substr(0, covered)) != checksum ||
      text.substr(covered) != absl::StrCat(kOwnChecksumKey, "\"", checksum, "\"\n")) {
    return CheckpointError("checksum of the manifest differs: it is damaged", path);
  }
  CheckpointManifest manifest;
  RETURN_IF_ERROR(fields.Read("step", manifest.step));
  ASSIGN_OR_RETURN(const YAML::Node files, fields.ReadSequence("files"));
  for (const YAML::Node& file : files) {
    ASSIGN_OR_RETURN(ManifestEntry entry, ReadEntry(file, path));
    manifest.files.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(fields.ExpectNoOthers());
  return manifest;
}

}  // namespace sluice::checkpoint_internal
