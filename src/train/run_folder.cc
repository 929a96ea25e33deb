#include "train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"

namespace sluice {

RunFolder::~RunFolder() {
  if (log_.is_open()) SetLogCopy(nullptr);
  if (lock_ >= 0) close(lock_);
}

std::string RunFolder::checkpoint(int64_t step) const {
  return absl::StrFormat("%s/step_%08d", checkpoints(), step);
}

absl::Status RunFolder::Lock(const std::string& log_path) {
  lock_ = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (lock_ < 0) return DeviceError("cannot write", log_path, std::strerror(errno));
  // File systems without locks say ENOLCK or ENOTSUP: there it is up to the user.
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return absl::OkStatus();
  return UsageError("another run is writing to this folder", path_,
                    "wait for its end, or choose another --run-folder");
}

absl::Status RunFolder::Open(const std::string& config_yaml, int64_t resumed_step,
                             bool tensorboard) {
  std::error_code error;
  std::filesystem::create_directories(checkpoints(), error);
  if (error) return DeviceError("cannot create the run folder", path_, error.message());
  RETURN_IF_ERROR(Lock(path_ + "/log.txt"));
  const std::string config_path = path_ + "/config.yaml", part = config_path + ".part";
  std::ofstream config(part, std::ios::trunc);
  config << config_yaml;
  config.close();
  if (!config) return DeviceError("cannot write", part);
  std::filesystem::rename(part, config_path, error);
  if (error) return DeviceError("cannot write", config_path, error.message());
  log_.open(path_ + "/log.txt", std::ios::app);
  if (!log_) return DeviceError("cannot write", path_ + "/log.txt");
  SetLogCopy([this](absl::string_view line) { log_ << line << std::flush; });
  return record_.Open({path_, resumed_step, tensorboard});
}

}  // namespace sluice
