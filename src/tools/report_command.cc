#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/status.h"
#include "report/read_run.h"
#include "report/report.h"
#include "tools/commands.h"

namespace sluice {
namespace {

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out = "report.html";
};

absl::Status RunReport(const ReportArguments& arguments, Communicator& communicator) {
  if (communicator.world_size() > 1) {
    return UsageError("report runs on one rank: start it without mpirun");
  }
  ASSIGN_OR_RETURN(const std::vector<ReportRun> runs, ReadReportRuns(arguments.runs));
  RETURN_IF_ERROR(WriteReport(runs, arguments.out));
  for (const ReportRun& run : runs) {
    for (const std::string& note : run.notes) {
      std::printf("%s: %s\n", run.name.c_str(), note.c_str());
    }
  }
  std::printf("%s shows %zu run%s\n", arguments.out.c_str(), runs.size(),
              runs.size() == 1 ? "" : "s");
  return absl::OkStatus();
}

}  // namespace

void AddReportCommand(CLI::App& program, ChosenCommand& chosen) {
  CLI::App* command = program.add_subcommand(
      "report", "One page (HTML) of runs side by side: curves, maps, tables, differences.");
  auto arguments = std::make_shared<ReportArguments>();
  command->add_option("runs", arguments->runs, "Run folders")->required();
  command->add_option("--out", arguments->out, "The page's file; replaced if it is there")
      ->capture_default_str();
  command->footer("Example: sluice report runs/vanilla runs/vga --out report.html");
  command->callback([arguments, &chosen] {
    chosen.run = [arguments](Communicator& communicator) {
      return RunReport(*arguments, communicator);
    };
  });
}

}  // namespace sluice
