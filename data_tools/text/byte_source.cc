#include "data_tools/text/byte_source.h"

#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr size_t kArchiveBufferBytes = 1 << 16;
constexpr absl::string_view kXzMagic(
    "\xFD"
    "7zXZ\0",
    6);
constexpr absl::string_view kGzipMagic("\x1F\x8B", 2);

class FileSource : public ByteSource {
 public:
  FileSource(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  ~FileSource() override {
    if (descriptor_ != STDIN_FILENO) close(descriptor_);
  }

  absl::StatusOr<size_t> Read(char* buffer, size_t capacity) override {
    if (!peeked_.empty()) {
      const size_t bytes = std::min(capacity, peeked_.size());
      std::memcpy(buffer, peeked_.data(), bytes);
      peeked_.erase(0, bytes);
      return bytes;
    }
    return ReadDescriptor(buffer, capacity);
  }

  // The first `bytes` bytes, or less in a shorter file; Read gives them again.
  absl::StatusOr<absl::string_view> Peek(size_t bytes) {
    while (peeked_.size() < bytes) {
      char buffer[16];
      ASSIGN_OR_RETURN(const size_t read,
                       ReadDescriptor(buffer, std::min(sizeof(buffer), bytes - peeked_.size())));
      if (read == 0) break;
      peeked_.append(buffer, read);
    }
    return absl::string_view(peeked_);
  }

 private:
  absl::StatusOr<size_t> ReadDescriptor(char* buffer, size_t capacity) {
    while (true) {
      const ssize_t bytes = read(descriptor_, buffer, capacity);
      if (bytes >= 0) return static_cast<size_t>(bytes);
      if (errno != EINTR) return DataError("cannot read text", path_, std::strerror(errno));
    }
  }

  int descriptor_;
  std::string path_;
  std::string peeked_;
};

// One or more xz streams, one after the other.
class XzSource : public ByteSource {
 public:
  XzSource(std::unique_ptr<ByteSource> packed, std::string path)
      : packed_(std::move(packed)), path_(std::move(path)), input_(kArchiveBufferBytes) {
    CHECK_EQ(lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED), LZMA_OK);
  }
  ~XzSource() override { lzma_end(&stream_); }

  absl::StatusOr<size_t> Read(char* buffer, size_t capacity) override {
    stream_.next_out = reinterpret_cast<uint8_t*>(buffer);
    stream_.avail_out = capacity;
    while (!done_ && stream_.avail_out == capacity) {
      if (stream_.avail_in == 0 && !packed_ended_) {
        ASSIGN_OR_RETURN(const size_t bytes, packed_->Read(input_.data(), input_.size()));
        stream_.next_in = reinterpret_cast<const uint8_t*>(input_.data());
        stream_.avail_in = bytes;
        packed_ended_ = bytes == 0;
      }
      const lzma_ret result = lzma_code(&stream_, packed_ended_ ? LZMA_FINISH : LZMA_RUN);
      if (result == LZMA_STREAM_END) {
        done_ = true;
      } else if (result == LZMA_BUF_ERROR && packed_ended_) {
        return DataError("xz archive is truncated", path_,
                         absl::StrCat(stream_.total_in, " bytes read"));
      } else if (result != LZMA_OK && result != LZMA_BUF_ERROR) {
        return DataError(
            "xz archive is damaged", path_,
            absl::StrCat("liblzma code ", result, " after ", stream_.total_in, " bytes"));
      }
    }
    return capacity - stream_.avail_out;
  }

 private:
  std::unique_ptr<ByteSource> packed_;
  std::string path_;
  std::vector<char> input_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool packed_ended_ = false;
  bool done_ = false;
};

// One or more gzip members, one after the other.
class GzipSource : public ByteSource {
 public:
  GzipSource(std::unique_ptr<ByteSource> packed, std::string path)
      : packed_(std::move(packed)), path_(std::move(path)), input_(kArchiveBufferBytes) {
    constexpr int kGzipOnly = 16;
    CHECK_EQ(inflateInit2(&stream_, MAX_WBITS + kGzipOnly), Z_OK);
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  absl::StatusOr<size_t> Read(char* buffer, size_t capacity) override {
    const size_t wanted = std::min<size_t>(capacity, 1 << 30);  // zlib counts with 32 bits
    stream_.next_out = reinterpret_cast<Bytef*>(buffer);
    stream_.avail_out = static_cast<uInt>(wanted);
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) {
        ASSIGN_OR_RETURN(const size_t bytes, packed_->Read(input_.data(), input_.size()));
        if (bytes == 0) {
          if (between_members_) return size_t{0};
          return DataError("gzip archive is truncated", path_, absl::StrCat(read_, " bytes read"));
        }
        stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
        stream_.avail_in = static_cast<uInt>(bytes);
        read_ += bytes;
      }
      between_members_ = false;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {
        between_members_ = true;
        inflateReset(&stream_);
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return DataError(
            "gzip archive is damaged", path_,
            absl::StrCat(stream_.msg == nullptr ? "" : stream_.msg, ", near byte ", read_));
      }
    }
    return wanted - stream_.avail_out;
  }

 private:
  std::unique_ptr<ByteSource> packed_;
  std::string path_;
  std::vector<char> input_;
  z_stream stream_ = {};
  size_t read_ = 0;
  bool between_members_ = false;
};

absl::StatusOr<int> OpenDescriptor(const std::string& path) {
  if (path == "-") return STDIN_FILENO;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return DataError("cannot open text", path, std::strerror(errno));
  struct stat status;
  if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    close(descriptor);
    return DataError("text is a folder, not a file", path);
  }
  return descriptor;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  ASSIGN_OR_RETURN(const int descriptor, OpenDescriptor(path));
  auto file = std::make_unique<FileSource>(descriptor, name);
  ASSIGN_OR_RETURN(const absl::string_view start, file->Peek(kXzMagic.size()));
  if (absl::StartsWith(start, kXzMagic)) {
    return std::unique_ptr<ByteSource>(new XzSource(std::move(file), name));
  }
  if (absl::StartsWith(start, kGzipMagic)) {
    return std::unique_ptr<ByteSource>(new GzipSource(std::move(file), name));
  }
  if (absl::EndsWith(path, ".xz")) return DataError("file is no xz archive", name);
  if (absl::EndsWith(path, ".gz")) return DataError("file is no gzip archive", name);
  return std::unique_ptr<ByteSource>(std::move(file));
}

}  // namespace sluice
