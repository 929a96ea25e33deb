// Stopping on request: SIGTERM (Slurm, kill) and SIGINT (Ctrl-C) ask the trainer to finish its
// update, write a checkpoint and end with exit code 75; the same command goes on from there. A
// second SIGINT ends the process at once.
#pragma once

namespace sluice {

// Installs the handlers for as long as an object lives. Ranks that are threads of one process each
// have one, and each sees a signal that came after the first of them began to listen.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // The signal's number once one has come, else 0.
  int received() const;
};

}  // namespace sluice
