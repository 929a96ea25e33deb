#include "checkpoint/temporary_name.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/checkpoint_format.h"

namespace sluice::checkpoint_internal {
namespace {

constexpr char kMark[] = ".tmp-";
constexpr double kDaySeconds = 86400;

std::string HostName() {
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0) return "unknown";
  return name;
}

}  // namespace

std::string TemporaryFolderName(int64_t step) {
  return absl::StrCat(".", CheckpointFolderName(step), kMark, HostName(), "-", getpid());
}

bool IsAbandoned(const std::string& name, double idle_seconds) {
  const size_t mark = name.find(kMark);
  const size_t dash = name.rfind('-');
  int64_t process = 0;
  if (name[0] != '.' || mark == std::string::npos || !StepOfFolderName(name.substr(1, mark - 1)) ||
      dash < mark + sizeof(kMark) - 1 || !absl::SimpleAtoi(name.substr(dash + 1), &process)) {
    return false;
  }
  const size_t host = mark + sizeof(kMark) - 1;
  if (name.substr(host, dash - host) != HostName()) return idle_seconds > kDaySeconds;
  // This process writes one checkpoint at a time and asks between them, so its own is an old one's
  // whose process had the same number, as happens in containers.
  if (process == getpid()) return true;
  return kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH;
}

}  // namespace sluice::checkpoint_internal
