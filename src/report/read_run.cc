#include "report/read_run.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/reader.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "report/flat_config.h"
#include "report/read_metrics.h"
#include "report/read_results.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

absl::Status CheckRunFolder(const std::string& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) return DataError("no such run folder", folder);
  if (!fs::is_directory(folder, error)) return DataError("is no run folder but a file", folder);
  if (IsFile(folder + "/manifest.yaml") && !IsFile(folder + "/metrics.jsonl")) {
    return DataError("is a checkpoint or data, no run folder", folder,
                     "the report reads the folder that `sluice train` wrote");
  }
  if (IsFile(folder + "/config.yaml") || IsFile(folder + "/metrics.jsonl")) return absl::OkStatus();
  return DataError("is no run folder", folder, "it has neither config.yaml nor metrics.jsonl");
}

// Steps of the folders and files PREFIX_NNN[ENDING] in `folder`, rising.
std::vector<std::pair<int64_t, std::string>> StepsIn(const std::string& folder,
                                                     const std::string& ending) {
  std::vector<std::pair<int64_t, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int64_t step = 0;
    if (!absl::StartsWith(name, "step_") || !absl::EndsWith(name, ending)) continue;
    if (!absl::SimpleAtoi(name.substr(5, name.size() - 5 - ending.size()), &step)) continue;
    found.emplace_back(step, entry->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void Note(const absl::Status& status, ReportRun& run) {
  if (!status.ok()) run.notes.push_back(std::string(status.message()));
}

void ReadConfig(ReportRun& run) {
  const std::string path = run.folder + "/config.yaml";
  if (!IsFile(path)) {
    run.notes.push_back("config.yaml is missing");
    return;
  }
  const auto text = ReadWholeFile(path);
  if (!text.ok()) return Note(text.status(), run);
  auto config = ParseFlatConfig(*text, path);
  if (!config.ok()) return Note(config.status(), run);
  run.config = *std::move(config);
  run.variant = VariantName(run.config);
}

// The training may go on meanwhile: a checkpoint that vanishes is left out.
void ReadGates(ReportRun& run) {
  for (const auto& [step, folder] : StepsIn(run.folder + "/checkpoints", "")) {
    if (!IsFile(folder + "/gates.h5")) continue;
    auto gates = ReadCheckpointGates(folder);
    std::error_code error;
    if (!gates.ok() && !fs::exists(folder, error)) continue;
    Note(gates.status(), run);
    if (gates.ok() && !gates->empty()) run.gates.push_back({step, *std::move(gates)});
  }
}

void ReadMaps(ReportRun& run) {
  const auto files = StepsIn(run.folder + "/attention_maps", ".json");
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    auto maps = ReadAttentionMaps(file->second);
    Note(maps.status(), run);
    if (!maps.ok()) continue;
    run.maps = *std::move(maps);
    return;
  }
}

// A run that went on has figures of an earlier step beside curves that are longer.
void NoteIfOlder(const char* file, const std::vector<ReportEvaluation>& results, ReportRun& run) {
  int64_t step = 0;
  for (const ReportEvaluation& one : results) step = std::max(step, one.step);
  if (results.empty() || step >= run.last_step()) return;
  run.notes.push_back(
      absl::StrCat(file, " is of step ", step, ", the run has come to step ", run.last_step()));
}

void ReadResults(ReportRun& run) {
  if (const std::string path = run.folder + "/evaluate.json"; IsFile(path)) {
    auto results = ReadEvaluations(path);
    Note(results.status(), run);
    if (results.ok()) run.evaluations = *std::move(results);
    NoteIfOlder("evaluate.json", run.evaluations, run);
  }
  if (const std::string path = run.folder + "/quantize.json"; IsFile(path)) {
    auto results = ReadQuantizations(path);
    Note(results.status(), run);
    if (results.ok()) run.quantizations = *std::move(results);
    NoteIfOlder("quantize.json", run.quantizations, run);
  }
}

ReportRun ReadRun(const std::string& folder) {
  ReportRun run;
  run.folder = folder;
  ReadConfig(run);
  if (IsFile(folder + "/metrics.jsonl")) {
    Note(ReadMetrics(folder + "/metrics.jsonl", run), run);
    if (run.series.empty() && run.heads.empty()) {
      run.notes.push_back("metrics.jsonl has no record yet");
    }
  } else {
    run.notes.push_back("metrics.jsonl is missing");
  }
  ReadGates(run);
  ReadMaps(run);
  ReadResults(run);
  return run;
}

std::string WithoutEndingSlash(std::string folder) {
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder;
}

// The last `parts` components of a path.
std::string Tail(const std::string& folder, int parts) {
  size_t begin = folder.size();
  for (int i = 0; i < parts && begin != std::string::npos && begin > 0; ++i) {
    begin = folder.rfind('/', begin - 1);
  }
  return begin == std::string::npos || begin == 0 ? folder : folder.substr(begin + 1);
}

// Each run is called by as many components of its path as tell it from the others.
void NameRuns(std::vector<ReportRun>& runs) {
  for (int parts = 1; parts <= 8; ++parts) {
    std::map<std::string, int> taken;
    for (const ReportRun& run : runs) ++taken[Tail(run.folder, parts)];
    for (ReportRun& run : runs) {
      const std::string name = Tail(run.folder, parts);
      if (run.name.empty() && taken[name] == 1) run.name = name;
    }
  }
  for (ReportRun& run : runs) {
    if (run.name.empty()) run.name = run.folder;
  }
}

}  // namespace

absl::StatusOr<std::vector<ReportRun>> ReadReportRuns(const std::vector<std::string>& folders) {
  std::vector<std::string> wanted;
  std::set<std::string> seen;
  std::vector<std::string> twice;
  for (const std::string& given : folders) {
    const std::string folder = WithoutEndingSlash(given);
    RETURN_IF_ERROR(CheckRunFolder(folder));
    std::error_code error;
    const fs::path canonical = fs::canonical(folder, error);
    if (seen.insert(error ? folder : canonical.string()).second) {
      wanted.push_back(folder);
    } else {
      twice.push_back(folder);
    }
  }
  std::vector<ReportRun> runs;
  for (const std::string& folder : wanted) runs.push_back(ReadRun(folder));
  NameRuns(runs);
  for (const std::string& folder : twice) {
    runs.front().notes.push_back(absl::StrCat(folder, " was given twice and is shown once"));
  }
  return runs;
}

}  // namespace sluice
