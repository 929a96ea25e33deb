#include "data/manifest.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "data/content_hash.h"

namespace sluice {
namespace {

// Reads the fields of one mapping and remembers the first error. Every field must be asked for.
class FieldReader {
 public:
  FieldReader(const YAML::Node& node, std::string where) : node_(node), where_(std::move(where)) {
    if (!node.IsMap()) Fail("manifest is damaged", "expected a mapping", node);
  }

  template <typename T>
  void Read(const char* name, T* value) {
    const YAML::Node field = Field(name);
    if (!status_.ok()) return;
    try {
      *value = field.as<T>();
    } catch (const YAML::Exception&) {
      Fail("manifest field has the wrong type", name, field);
    }
  }
  // A count or size: at least `least`.
  void ReadCount(const char* name, int64_t least, int64_t* value) {
    Read(name, value);
    if (status_.ok() && *value < least) {
      Fail("manifest field is out of range", absl::StrCat(name, " = ", *value), node_[name]);
    }
  }
  // A file beside the manifest: no folder part, so a manifest cannot reach elsewhere.
  void ReadFileName(const char* name, std::string* value) {
    Read(name, value);
    if (status_.ok() &&
        (value->empty() || value->front() == '.' || value->find('/') != std::string::npos)) {
      Fail("manifest field is not a plain file name", absl::StrCat(name, " = ", *value),
           node_[name]);
    }
  }
  void ReadXxh3(const char* name, uint64_t* value) {
    std::string text;
    Read(name, &text);
    if (status_.ok() && !ParseXxh3(text, value)) {
      Fail("manifest field is not 16 hex digits", absl::StrCat(name, " = ", text), node_[name]);
    }
  }
  YAML::Node Field(const char* name) {
    if (!status_.ok()) return {};
    known_.insert(name);
    YAML::Node field = node_[name];
    if (!field.IsDefined() || field.IsNull()) Fail("manifest field is missing", name, node_);
    return field;
  }
  void Fail(const char* what, const std::string& values, const YAML::Node& at) {
    if (status_.ok())
      status_ = DataError(what, absl::StrCat(where_, ":", at.Mark().line + 1), values);
  }
  // The first error; else an error when the mapping has a field that nobody asked for.
  absl::Status Finish() {
    for (auto field = node_.begin(); status_.ok() && field != node_.end(); ++field) {
      const auto name = field->first.as<std::string>("");
      if (!known_.contains(name)) Fail("manifest field is unknown", name, field->first);
    }
    return status_;
  }

 private:
  const YAML::Node node_;
  std::string where_;
  std::set<std::string> known_;
  absl::Status status_;
};

// The names of the vocabulary's files must be those that its kind has.
void ReadVocabularyFiles(const YAML::Node& node, int64_t version, FieldReader* fields,
                         Manifest* manifest) {
  if (version == 1) {
    manifest->vocabulary_files.resize(1);
    fields->ReadFileName("vocabulary", &manifest->vocabulary_files.front());
    return;
  }
  fields->Read("vocabulary", &manifest->vocabulary_files);
  const std::vector<std::string> expected = VocabularyFileNames(manifest->tokenizer.kind);
  if (manifest->vocabulary_files != expected) {
    fields->Fail("manifest names other vocabulary files than its kind of tokenizer has",
                 absl::StrCat(absl::StrJoin(manifest->vocabulary_files, ", "), "; expected ",
                              absl::StrJoin(expected, ", ")),
                 node["vocabulary"]);
  }
}

absl::Status ReadTokenizer(const YAML::Node& node, int64_t version, Manifest* manifest) {
  TokenizerIdentity& tokenizer = manifest->tokenizer;
  FieldReader fields(node, manifest->path);
  fields.Read("kind", &tokenizer.kind);
  fields.Read("cased", &tokenizer.cased);
  ReadVocabularyFiles(node, version, &fields, manifest);
  fields.ReadCount("vocabulary_size", 1, &tokenizer.vocabulary_size);
  fields.Read("vocabulary_sha256", &tokenizer.vocabulary_sha256);
  SpecialTokenIds& special = tokenizer.special;
  for (const auto& [name, id, since_version] : kSpecialTokenFields) {
    if (since_version <= version) fields.Read(name, &(special.*id));
  }
  RETURN_IF_ERROR(fields.Finish());
  for (const SpecialTokenField& field : kSpecialTokenFields) {
    const int64_t id = special.*field.id;
    if (id < -1 || id >= tokenizer.vocabulary_size) {
      return DataError("manifest field is out of range", manifest->path,
                       absl::StrCat("special token id ", id));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadShardList(const YAML::Node& list, Manifest* manifest) {
  if (!list.IsSequence() || list.size() == 0) {
    return DataError("manifest lists no shards", manifest->path);
  }
  for (const YAML::Node& item : list) {
    ManifestShard shard;
    FieldReader fields(item, manifest->path);
    fields.ReadFileName("file", &shard.file);
    fields.ReadCount("tokens", 1, &shard.tokens);
    fields.ReadCount("documents", 1, &shard.documents);
    fields.ReadCount("rows", 1, &shard.rows);
    fields.ReadCount("bytes", 1, &shard.bytes);
    fields.ReadXxh3("xxh3", &shard.xxh3);
    RETURN_IF_ERROR(fields.Finish());
    manifest->shards.push_back(std::move(shard));
  }
  return absl::OkStatus();
}

absl::Status CheckTotals(const YAML::Node& node, const Manifest& manifest) {
  int64_t tokens = 0, documents = 0, rows = 0;
  FieldReader fields(node, manifest.path);
  fields.ReadCount("tokens", 1, &tokens);
  fields.ReadCount("documents", 1, &documents);
  fields.ReadCount("rows", 1, &rows);
  RETURN_IF_ERROR(fields.Finish());
  if (tokens != manifest.total_tokens() || documents != manifest.total_documents() ||
      rows != manifest.total_rows()) {
    return DataError("manifest's totals are not the sums over its shards", manifest.path);
  }
  return absl::OkStatus();
}

absl::Status ParseManifest(const YAML::Node& root, Manifest* manifest) {
  FieldReader fields(root, manifest->path);
  int64_t version = 0;
  fields.Read("format_version", &version);
  const YAML::Node tokenizer = fields.Field("tokenizer");
  fields.Read("row", &manifest->row_mode);
  fields.Read("sources", &manifest->sources);
  const YAML::Node shards = fields.Field("shards");
  const YAML::Node totals = fields.Field("totals");
  std::string creator;
  fields.Read("creator", &creator);
  if (root.IsMap() && root["format_version"].IsDefined() &&
      (version < 1 || version > kManifestFormatVersion)) {
    return DataError("manifest has an unknown format version", manifest->path,
                     absl::StrCat("found ", root["format_version"].as<std::string>("?"),
                                  ", this program reads 1 to ", kManifestFormatVersion));
  }
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(ReadTokenizer(tokenizer, version, manifest));
  RETURN_IF_ERROR(ReadShardList(shards, manifest));
  return CheckTotals(totals, *manifest);
}

absl::Status CompareShard(const Manifest& manifest, const ManifestShard& expected,
                          const ShardReader& shard) {
  const ShardHeader& header = shard.header();
  if (header.tokenizer != manifest.tokenizer) {
    return DataError("shard was made with another tokenizer than its manifest says", shard.path(),
                     DescribeDifference(header.tokenizer, manifest.tokenizer));
  }
  const std::tuple<const char*, int64_t, int64_t> counts[] = {
      {"tokens", header.token_count, expected.tokens},
      {"documents", header.document_count, expected.documents},
      {"rows", header.row_count, expected.rows}};
  for (const auto& [name, found, listed] : counts) {
    if (found != listed) {
      return DataError("shard is not the one that the manifest lists", shard.path(),
                       absl::StrCat(name, " ", found, ", manifest says ", listed));
    }
  }
  if (header.xxh3 != expected.xxh3) {
    return DataError(
        "shard is not the one that the manifest lists", shard.path(),
        absl::StrCat("xxh3 ", Xxh3Text(header.xxh3), ", manifest says ", Xxh3Text(expected.xxh3)));
  }
  return shard.CheckOffsets();
}

template <typename Member>
int64_t Sum(const std::vector<ManifestShard>& shards, Member member) {
  int64_t sum = 0;
  for (const ManifestShard& shard : shards) sum += shard.*member;
  return sum;
}

}  // namespace

int64_t Manifest::total_tokens() const { return Sum(shards, &ManifestShard::tokens); }
int64_t Manifest::total_documents() const { return Sum(shards, &ManifestShard::documents); }
int64_t Manifest::total_rows() const { return Sum(shards, &ManifestShard::rows); }

std::string Manifest::Beside(const std::string& file) const {
  return (std::filesystem::path(path).parent_path() / file).string();
}

std::vector<std::string> Manifest::VocabularyPaths() const {
  std::vector<std::string> paths;
  for (const std::string& file : vocabulary_files) paths.push_back(Beside(file));
  return paths;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& path) {
  Manifest manifest;
  manifest.path = path;
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    manifest.path = (std::filesystem::path(path) / kManifestFileName).string();
  }
  if (!std::filesystem::exists(manifest.path, error)) {
    return DataError("manifest does not exist", manifest.path,
                     "sluice-data prepare writes it, as its last file");
  }
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(manifest.path));
  try {
    RETURN_IF_ERROR(ParseManifest(YAML::Load(text), &manifest));
  } catch (const YAML::Exception& e) {
    return DataError("manifest is not YAML", absl::StrCat(manifest.path, ":", e.mark.line + 1),
                     e.msg);
  }
  return manifest;
}

absl::Status WriteManifest(const Manifest& manifest) {
  const TokenizerIdentity& tokenizer = manifest.tokenizer;
  YAML::Emitter out;
  out << YAML::BeginMap;
  const auto field = [&out](const char* name, const auto& value) {
    out << YAML::Key << name << YAML::Value << value;
  };
  // Quoted, or digits alone would read back as a number in other programs.
  const auto text = [&out](const char* name, const std::string& value) {
    out << YAML::Key << name << YAML::Value << YAML::DoubleQuoted << value;
  };
  field("format_version", kManifestFormatVersion);
  text("creator", "sluice 0.1.0");
  out << YAML::Key << "tokenizer" << YAML::Value << YAML::BeginMap;
  field("kind", tokenizer.kind);
  field("cased", tokenizer.cased);
  out << YAML::Key << "vocabulary" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const std::string& file : manifest.vocabulary_files) out << YAML::DoubleQuoted << file;
  out << YAML::EndSeq;
  field("vocabulary_size", tokenizer.vocabulary_size);
  text("vocabulary_sha256", tokenizer.vocabulary_sha256);
  for (const SpecialTokenField& special : kSpecialTokenFields) {
    field(special.name, tokenizer.special.*special.id);
  }
  out << YAML::EndMap;
  field("row", manifest.row_mode);
  out << YAML::Key << "sources" << YAML::Value << YAML::BeginSeq;
  for (const std::string& source : manifest.sources) out << YAML::DoubleQuoted << source;
  out << YAML::EndSeq;
  out << YAML::Key << "totals" << YAML::Value << YAML::BeginMap;
  field("tokens", manifest.total_tokens());
  field("documents", manifest.total_documents());
  field("rows", manifest.total_rows());
  out << YAML::EndMap;
  out << YAML::Key << "shards" << YAML::Value << YAML::BeginSeq;
  for (const ManifestShard& shard : manifest.shards) {
    out << YAML::BeginMap;
    text("file", shard.file);
    field("tokens", shard.tokens);
    field("documents", shard.documents);
    field("rows", shard.rows);
    field("bytes", shard.bytes);
    text("xxh3", Xxh3Text(shard.xxh3));
    out << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
  return WriteFileAtomically(manifest.path, absl::StrCat(out.c_str(), "\n"));
}

absl::StatusOr<std::vector<ShardReader>> OpenShards(const Manifest& manifest) {
  std::vector<ShardReader> shards;
  shards.reserve(manifest.shards.size());
  for (const ManifestShard& expected : manifest.shards) {
    const std::string path = manifest.Beside(expected.file);
    std::error_code error;
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
    if (!error && bytes != expected.bytes) {
      return DataError("shard is not as long as the manifest says", path,
                       absl::StrCat(bytes, " bytes, expected ", expected.bytes));
    }
    ASSIGN_OR_RETURN(ShardReader shard, ShardReader::Open(path));
    RETURN_IF_ERROR(CompareShard(manifest, expected, shard));
    shards.push_back(std::move(shard));
  }
  return shards;
}

std::string DescribeDifference(const TokenizerIdentity& a, const TokenizerIdentity& b) {
  std::vector<std::string> parts;
  const auto compare = [&parts](const char* name, const auto& left, const auto& right) {
    if (left != right) parts.push_back(absl::StrCat(name, " ", left, " vs. ", right));
  };
  compare("kind", a.kind, b.kind);
  compare("cased", a.cased, b.cased);
  compare("vocabulary_size", a.vocabulary_size, b.vocabulary_size);
  compare("vocabulary_sha256", a.vocabulary_sha256, b.vocabulary_sha256);
  for (const SpecialTokenField& field : kSpecialTokenFields) {
    compare(field.name, a.special.*field.id, b.special.*field.id);
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace sluice
