#include "core/log.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/error.h"

namespace sluice {
namespace {

struct Sink {
  std::mutex mutex;  // not Abseil's, which ThreadSanitizer does not see into
  int rank = 0;
  int world_size = 1;
  std::function<void(absl::string_view)> copy;
  const bool terminal = isatty(STDERR_FILENO) == 1;
  std::string status_line;

  void EraseStatusLine() const {
    if (!status_line.empty()) std::fputs("\r\033[K", stderr);
  }
  void DrawStatusLine() const {
    if (!status_line.empty()) std::fputs(status_line.c_str(), stderr);
    std::fflush(stderr);
  }
};

// The process has one stderr, so it has one sink.
Sink& TheSink() {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
  static Sink* sink = new Sink;  // never destroyed: threads may log while the process ends
  return *sink;
}

}  // namespace

void Log(LogLevel level, absl::string_view message) {
  Sink& sink = TheSink();
  const std::lock_guard lock(sink.mutex);
  const bool problem = level == LogLevel::kWarning || level == LogLevel::kError;
  if (!problem && sink.rank != 0) return;
  std::string line;
  if (problem && sink.world_size > 1) absl::StrAppend(&line, "[rank ", sink.rank, "] ");
  if (level == LogLevel::kWarning) absl::StrAppend(&line, "warning: ");
  if (level == LogLevel::kError) absl::StrAppend(&line, "error: ");
  absl::StrAppend(&line, message, "\n");
  std::FILE* stream = level == LogLevel::kResult ? stdout : stderr;
  sink.EraseStatusLine();
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
  sink.DrawStatusLine();
  if (sink.copy) sink.copy(line);
}

void SetStatusLine(absl::string_view text) {
  Sink& sink = TheSink();
  const std::lock_guard lock(sink.mutex);
  if (!sink.terminal || sink.rank != 0) return;
  sink.EraseStatusLine();
  sink.status_line = std::string(text);
  sink.DrawStatusLine();
}

void SetLogRank(int rank, int world_size) {
  Sink& sink = TheSink();
  const std::lock_guard lock(sink.mutex);
  sink.rank = rank;
  sink.world_size = world_size;
}

void SetLogCopy(std::function<void(absl::string_view)> copy) {
  Sink& sink = TheSink();
  const std::lock_guard lock(sink.mutex);
  sink.copy = std::move(copy);
}

absl::Status FlushStandardOutput() {
  if (std::fflush(stdout) != 0)
    return DeviceError("cannot write to standard output", "", std::strerror(errno));
  // An earlier line was not taken; its reason is forgotten.
  return std::ferror(stdout) == 0 ? absl::OkStatus()
                                  : DeviceError("cannot write to standard output");
}

}  // namespace sluice
