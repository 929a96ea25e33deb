// sluice-data: text → vocabulary → token shards, and a look into them.
#include <csignal>

#include "core/error.h"
#include "core/log.h"
#include "core/out_of_memory.h"
#include "core/status.h"
#include "data_tools/commands.h"

int main(int argc, char** argv) {
  // A file larger than the limit becomes an error that is reported and cleaned up after.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app("sluice-data: text to vocabulary to token shards, and a look into them");
  const auto run = sluice::AddDataCommands(&app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(sluice::ExitCode::kUsage);
  }
  const absl::Status status = sluice::CatchOutOfMemory([&]() -> absl::Status {
    RETURN_IF_ERROR(run());
    return sluice::FlushStandardOutput();
  });
  if (!status.ok()) sluice::LogError(status.message());
  return static_cast<int>(sluice::ExitCodeOf(status));
}
