// An HDF5 file of named arrays: root attributes say what it is, each array is one dataset, chunked
// with fletcher32 checksums, in the order in which it was written. The same contents give the same
// bytes. A '/' in a name makes a group. Errors name file and array: CheckpointErrors from reading,
// DeviceErrors from writing.
//
//   ASSIGN_OR_RETURN(ArrayFileReader file, ArrayFileReader::Open(path, kModelKind));
//   for (const ArrayEntry& entry : file.entries()) …
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/checkpoint.h"
#include "core/hdf5_handle.h"
#include "core/hdf5_output_file.h"

namespace sluice {

// What one array is, as the file says.
struct ArrayEntry {
  enum class Type { kFloat32, kFloat64, kInt64, kText, kOther };
  std::string name;
  std::vector<int64_t> dims;
  Type type = Type::kOther;
  int64_t elements() const;
  std::string ShapeText() const;  // "(768, 12)"
};

class ArrayFileWriter {
 public:
  // Creates the file anew.
  static absl::StatusOr<ArrayFileWriter> Create(const std::string& path, const std::string& kind);

  absl::Status Write(const std::string& name, const std::vector<int64_t>& dims,
                     std::span<const float> values);
  absl::Status Write(const std::string& name, const std::vector<int64_t>& dims,
                     std::span<const double> values);
  absl::Status Write(const std::string& name, const std::vector<int64_t>& dims,
                     std::span<const int64_t> values);
  absl::Status WriteTexts(const std::string& name, const std::vector<std::string>& texts);

  // Everything written is in the file. Without it the file is not one.
  absl::Status Close();

 private:
  ArrayFileWriter(std::string path, Hdf5OutputFile file)
      : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status WriteDataset(const std::string& name, const std::vector<int64_t>& dims,
                            hid_t file_type, hid_t memory_type, const void* values);
  absl::Status Error(const char* what, const std::string& name) const;

  std::string path_;
  Hdf5OutputFile file_;
};

class ArrayFileReader {
 public:
  // Opens, checks kind and format version, and lists.
  static absl::StatusOr<ArrayFileReader> Open(const std::string& path, const std::string& kind);

  const std::string& path() const { return path_; }
  const std::vector<ArrayEntry>& entries() const { return entries_; }
  const ArrayEntry* Find(const std::string& name) const;  // null: no such array

  // The whole array; sizes and type must be the file's.
  absl::Status Read(const std::string& name, std::span<float> values) const;
  absl::Status Read(const std::string& name, std::span<double> values) const;
  absl::Status Read(const std::string& name, std::span<int64_t> values) const;
  absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& name) const;

 private:
  ArrayFileReader(std::string path, Hdf5Handle file)
      : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status CheckHeader(const std::string& kind) const;
  absl::Status ListGroup(const std::string& group);
  absl::Status AddEntry(const std::string& name, hid_t dataset);
  absl::Status ReadDataset(const std::string& name, ArrayEntry::Type type, hid_t memory_type,
                           size_t elements, void* values) const;
  absl::Status Error(const char* what, const std::string& name) const;

  std::string path_;
  Hdf5Handle file_;
  std::vector<ArrayEntry> entries_;
  std::map<std::string, size_t> index_;  // name → position in entries_
};

}  // namespace sluice
