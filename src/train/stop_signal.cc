#include "train/stop_signal.h"

#include <signal.h>

namespace sluice {
namespace {

volatile sig_atomic_t signal_received = 0;  // NOLINT: a signal handler can reach nothing else

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
  signal_received = 0;
  Install(Remember);
}

StopSignal::~StopSignal() { Install(SIG_DFL); }

int StopSignal::received() const { return signal_received; }

}  // namespace sluice
