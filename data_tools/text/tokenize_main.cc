// Shows what the tokenizer does with text, and how fast.
//
//   sluice-tokenize ids vocab.txt text.txt.xz        one line of ids for each line of text
//   sluice-tokenize benchmark vocab.txt text.txt --threads 2 --repeat 5
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/log.h"
#include "core/status.h"
#include "data_tools/text/text_reader.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {
namespace {

struct Arguments {
  std::string vocabulary;
  std::vector<std::string> texts;
  std::string casing;  // "", "cased" or "uncased"
  bool plain_special_tokens = false;
  int threads = 1;
  int repeat = 5;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const Arguments& arguments) {
  TokenizerOptions options{.path = arguments.vocabulary};
  if (!arguments.casing.empty()) options.cased = arguments.casing == "cased";
  options.recognize_special_tokens = !arguments.plain_special_tokens;
  return LoadTokenizer(options);
}

absl::Status PrintIds(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Load(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader, TextReader::Open(arguments.texts));
  std::string line;
  std::vector<int32_t> ids;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, reader->NextLine(&line));
    if (!more) return absl::OkStatus();
    ids.clear();
    tokenizer->Tokenize(line, &ids);
    std::puts(absl::StrJoin(ids, " ").c_str());
  }
}

// Seconds for all lines on `threads` threads; sets the number of ids.
double TimeOnce(const Tokenizer& tokenizer, const std::vector<std::string>& lines, int threads,
                int64_t* ids) {
  constexpr size_t kLinesAtATime = 64;
  std::atomic<size_t> next = 0;
  std::atomic<int64_t> total = 0;
  const auto work = [&] {
    std::vector<int32_t> line_ids;
    int64_t count = 0;
    for (size_t begin; (begin = next.fetch_add(kLinesAtATime)) < lines.size();) {
      const size_t end = std::min(begin + kLinesAtATime, lines.size());
      for (size_t i = begin; i < end; ++i) {
        line_ids.clear();
        tokenizer.Tokenize(lines[i], &line_ids);
        count += static_cast<int64_t>(line_ids.size());
      }
    }
    total += count;
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; ++i) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
  *ids = total;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

absl::Status Benchmark(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Load(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<TextReader> reader, TextReader::Open(arguments.texts));
  std::vector<std::string> lines;
  double bytes = 0;
  std::string line;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, reader->NextLine(&line));
    if (!more) break;
    bytes += static_cast<double>(line.size());
    lines.push_back(line);
  }
  int64_t ids = 0;
  double best = TimeOnce(*tokenizer, lines, arguments.threads, &ids);
  for (int i = 1; i < arguments.repeat; ++i) {
    best = std::min(best, TimeOnce(*tokenizer, lines, arguments.threads, &ids));
  }
  std::printf("{\"megabytes_per_second\": %.2f, \"ids\": %lld, \"lines\": %zu, \"threads\": %d}\n",
              bytes / 1e6 / best, static_cast<long long>(ids), lines.size(), arguments.threads);
  return absl::OkStatus();
}

void AddCommon(CLI::App* command, Arguments* arguments) {
  command->add_option("vocabulary", arguments->vocabulary, "a vocabulary's folder, or a vocab.txt")
      ->required();
  command->add_option("texts", arguments->texts, "text, .xz or .gz files; - is standard input")
      ->required();
  command->add_option("--casing", arguments->casing, "instead of what the vocabulary suggests")
      ->check(CLI::IsMember({"cased", "uncased"}));
  command->add_flag("--plain-special-tokens", arguments->plain_special_tokens,
                    "take [MASK] and the like in the text as plain text");
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::Arguments arguments;
  CLI::App app("Shows what the tokenizer does with text, and how fast");
  app.require_subcommand(1);
  CLI::App* ids = app.add_subcommand("ids", "one line of ids for each line of text");
  CLI::App* benchmark = app.add_subcommand("benchmark", "megabytes of text a second, as JSON");
  sluice::AddCommon(ids, &arguments);
  sluice::AddCommon(benchmark, &arguments);
  benchmark->add_option("--threads", arguments.threads, "default 1")->check(CLI::Range(1, 1024));
  benchmark->add_option("--repeat", arguments.repeat, "the best of this many runs; default 5")
      ->check(CLI::Range(1, 1000));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(sluice::ExitCode::kUsage);
  }
  const absl::Status status =
      ids->parsed() ? sluice::PrintIds(arguments) : sluice::Benchmark(arguments);
  if (!status.ok()) sluice::LogError(status.message());
  return static_cast<int>(sluice::ExitCodeOf(status));
}
