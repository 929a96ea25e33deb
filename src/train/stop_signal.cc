#include "train/stop_signal.h"

#include <signal.h>

#include <mutex>

namespace sluice {
namespace {

volatile sig_atomic_t signal_received = 0;  // NOLINT: a signal handler can reach nothing else

// Ranks may be threads of one process: the first to listen forgets old signals, the last to leave
// restores what was, so a signal between the first rank's start and the second's is not lost.
std::mutex listeners_mutex;  // NOLINT: handlers are the process's, and so is who listens
int listeners = 0;           // NOLINT

void Remember(int number) {
  if (signal_received != 0 && number == SIGINT) {
    signal(SIGINT, SIG_DFL);
    raise(SIGINT);
  }
  signal_received = number;
}

void Install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  const std::lock_guard lock(listeners_mutex);
  if (listeners++ > 0) return;
  signal_received = 0;
  Install(Remember);
}

StopSignal::~StopSignal() {
  const std::lock_guard lock(listeners_mutex);
  if (--listeners == 0) Install(SIG_DFL);
}

int StopSignal::received() const { return signal_received; }

}  // namespace sluice
