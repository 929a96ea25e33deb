#include "checkpoint/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice::checkpoint_internal {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr int64_t kSmallFileBytes = int64_t{64} << 20;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : path_(path), fd_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool valid() const { return fd_ >= 0; }

  absl::Status Write(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return WriteError("cannot write file", path_);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  // The next piece; empty at the end.
  absl::StatusOr<absl::string_view> Read(std::vector<char>& buffer) {
    ssize_t got = 0;
    do {
      got = read(fd_, buffer.data(), buffer.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) return ReadError("cannot read file", path_);
    return absl::string_view(buffer.data(), static_cast<size_t>(got));
  }
  absl::Status SyncAndClose() {
    if (fsync(fd_) != 0) return WriteError("cannot sync file", path_);
    const int fd = fd_;
    fd_ = -1;
    if (close(fd) != 0) return WriteError("cannot close file", path_);
    return absl::OkStatus();
  }
  int get() const { return fd_; }

 private:
  std::string path_;
  int fd_;
};

}  // namespace

absl::Status ReadError(absl::string_view what, const std::string& path) {
  return CheckpointError(what, path, std::strerror(errno));
}

absl::Status WriteError(absl::string_view what, const std::string& path) {
  return DeviceError(what, path, std::strerror(errno));
}

absl::Status WriteDurably(const std::string& path, absl::string_view bytes) {
  return WriteDurably(path, std::vector<absl::string_view>{bytes});
}

absl::Status WriteDurably(const std::string& path, const std::vector<absl::string_view>& pieces) {
  Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.valid()) return WriteError("cannot create file", path);
  for (absl::string_view piece : pieces) RETURN_IF_ERROR(file.Write(piece));
  return file.SyncAndClose();
}

absl::Status CopyDurably(const std::string& from, const std::string& to) {
  Descriptor source(from, O_RDONLY);
  if (!source.valid()) return ReadError("cannot open file", from);
  Descriptor target(to, O_WRONLY | O_CREAT | O_TRUNC);
  if (!target.valid()) return WriteError("cannot create file", to);
  std::vector<char> buffer(kPieceBytes);
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, source.Read(buffer));
    if (piece.empty()) return target.SyncAndClose();
    RETURN_IF_ERROR(target.Write(piece));
  }
}

absl::Status SyncFile(const std::string& path) {
  Descriptor file(path, O_RDONLY);
  if (!file.valid()) return WriteError("cannot open file", path);
  return file.SyncAndClose();
}

absl::Status SyncFolder(const std::string& path) {
  Descriptor folder(path, O_RDONLY | O_DIRECTORY);
  if (!folder.valid()) return WriteError("cannot open folder", path);
  // Some network file systems cannot sync a folder and say EINVAL; nothing more can be done there.
  if (fsync(folder.get()) != 0 && errno != EINVAL) return WriteError("cannot sync folder", path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  Descriptor file(path, O_RDONLY);
  if (!file.valid()) return ReadError("cannot open file", path);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return ReadError("cannot read file", path);
  if (!S_ISREG(info.st_mode)) return CheckpointError("is not a regular file", path);
  if (info.st_size > kSmallFileBytes) return CheckpointError("file is far too long", path);
  std::vector<char> buffer(kPieceBytes);
  std::string text;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, file.Read(buffer));
    if (piece.empty()) return text;
    text.append(piece.data(), piece.size());
  }
}

absl::StatusOr<FileIdentity> IdentifyFile(const std::string& path) {
  Descriptor file(path, O_RDONLY);
  if (!file.valid()) return ReadError("cannot open file", path);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  CHECK(state != nullptr);
  XXH3_64bits_reset(state.get());
  std::vector<char> buffer(kPieceBytes);
  FileIdentity identity;
  while (true) {
    ASSIGN_OR_RETURN(const absl::string_view piece, file.Read(buffer));
    if (piece.empty()) break;
    XXH3_64bits_update(state.get(), piece.data(), piece.size());
    identity.bytes += static_cast<int64_t>(piece.size());
  }
  identity.xxh3 = absl::StrFormat("%016x", XXH3_64bits_digest(state.get()));
  return identity;
}

std::string Xxh3Of(absl::string_view bytes) {
  return absl::StrFormat("%016x", XXH3_64bits(bytes.data(), bytes.size()));
}

void RemoveTree(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

}  // namespace sluice::checkpoint_internal
