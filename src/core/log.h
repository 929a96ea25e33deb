// Progress and warnings for people. One sink a process: stderr by default; the trainer adds the run
// folder's log.txt. Results that a user asked for (tables, JSON) are printed to stdout by the
// tools, not logged.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

enum class LogLevel { kResult, kInfo, kWarning, kError };

// Writes one line. Thread-safe. Info from ranks other than 0 is dropped; warnings and errors carry
// "[rank R]" when there is more than one rank.
void Log(LogLevel level, absl::string_view message);
inline void LogResult(absl::string_view message) { Log(LogLevel::kResult, message); }
inline void LogInfo(absl::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogWarning(absl::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogError(absl::string_view message) { Log(LogLevel::kError, message); }

// Who speaks. Called once by a main, before other threads exist.
void SetLogRank(int rank, int world_size);

// Shows `text` on the terminal's last line, below everything that is logged, until it is replaced
// or set to "". Does nothing where stderr is not a terminal, and on ranks other than 0.
void SetStatusLine(absl::string_view text);

// Adds a copy of every line that is written (for log.txt). An empty function takes it away again.
void SetLogCopy(std::function<void(absl::string_view line)> copy);

// DeviceError when something that was printed to stdout was not taken: a full disk behind a
// redirection. Called by a main at its end.
absl::Status FlushStandardOutput();

}  // namespace sluice
