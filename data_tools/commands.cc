#include "data_tools/commands.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/log.h"
#include "core/status.h"
#include "data/nvidia_bert_inspection.h"
#include "data/shard_inspection.h"
#include "data_tools/prepare.h"
#include "data_tools/text/learn_vocabulary.h"
#include "data_tools/text/tokenizer.h"

namespace sluice {
namespace {

using Command = std::pair<CLI::App*, std::function<absl::Status()>>;

constexpr char kTextHelp[] =
    "text files, one paragraph a line and a blank line between documents; .xz and .gz are "
    "unpacked; - is standard input";

constexpr char kTokenizerHelp[] = "wordpiece (BERT) or bpe (byte-level: OPT, GPT-2)";

// Makes option names of `command` as the documentation writes them, and gives it an example.
CLI::App* AddCommand(CLI::App* app, const char* name, const char* description,
                     const std::string& example) {
  CLI::App* command = app->add_subcommand(name, description);
  command->footer(absl::StrCat("Example:\n  ", example));
  return command;
}

absl::Status Learn(const LearnVocabularyOptions& options) {
  ASSIGN_OR_RETURN(const LearnedVocabulary learned, LearnVocabulary(options));
  const bool is_byte_pair = options.tokenizer == "bpe";
  absl::PrintF("%s\ntokens      %d\nwords       %d, %d different\n%s  %d of %d kept\n",
               VocabularyPaths(options.folder, options.tokenizer).front(), learned.tokens.size(),
               learned.words, learned.different_words, is_byte_pair ? "bytes     " : "characters",
               learned.characters, learned.different_characters);
  return absl::OkStatus();
}

Command AddLearnVocabulary(CLI::App* app) {
  CLI::App* command = AddCommand(
      app, "learn-vocabulary", "learn a vocabulary from text",
      "sluice-data learn-vocabulary --tokenizer wordpiece --size 8000 --out data/vocabulary "
      "wiki.txt.xz");
  auto arguments = std::make_shared<LearnVocabularyOptions>();
  LearnVocabularyOptions& options = *arguments;
  command->add_option("--tokenizer", options.tokenizer, kTokenizerHelp)->capture_default_str();
  command->add_option("--size", options.learner.size, "tokens wanted, special ones included")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--cased", options.cased, "tell upper from lower case; bpe always does");
  command->add_option("--out", options.folder, "folder for the vocabulary and tokenizer.yaml")
      ->required();
  command->add_option("TEXT", options.texts, kTextHelp)->required();
  return {command, [arguments] { return Learn(*arguments); }};
}

// One line that replaces itself on a terminal; on anything else a line every ten seconds.
std::function<void(absl::string_view)> Progress() {
  if (isatty(STDERR_FILENO) != 0) {
    return [](absl::string_view line) {
      absl::FPrintF(stderr, "\r\033[K%s", line);
      std::fflush(stderr);
    };
  }
  return [calls = 0](absl::string_view line) mutable {
    if (++calls % 10 == 0) LogInfo(line);
  };
}

absl::Status PrepareAndReport(PrepareOptions options) {
  options.progress = Progress();
  const absl::StatusOr<PrepareSummary> summary = Prepare(options);
  if (isatty(STDERR_FILENO) != 0) absl::FPrintF(stderr, "\r\033[K");
  if (!summary.ok()) return summary.status();
  if (summary->invalid_sequences > 0) {
    LogWarning(absl::StrCat("the text is not clean UTF-8: ", summary->invalid_sequences,
                            " ill-formed sequences were replaced"));
  }
  std::cout << SummaryText(*summary);
  return absl::OkStatus();
}

Command AddPrepare(CLI::App* app) {
  CLI::App* command =
      AddCommand(app, "prepare", "turn text into token shards",
                 "sluice-data prepare --tokenizer wordpiece --vocabulary vocab.txt --out data/wiki "
                 "wiki.txt.xz");
  auto options = std::make_shared<PrepareOptions>();
  auto cased = std::make_shared<bool>(false);
  command->add_option("--tokenizer", options->tokenizer, kTokenizerHelp)->capture_default_str();
  command
      ->add_option("--vocabulary", options->vocabulary,
                   "a folder with vocab.txt, or with vocab.json and merges.txt; or a vocab.txt")
      ->required();
  CLI::Option* casing = command->add_flag(
      "--cased,!--uncased", *cased,
      "whether upper and lower case are told apart; default: as the vocabulary says");
  command
      ->add_option(
          "--row", options->row,
          "what becomes one row, as [CLS] ... [SEP]: document (paragraphs joined), paragraph "
          "(a line), or line (a line that is a document of its own)")
      ->capture_default_str();
  command
      ->add_option("--out", options->folder,
                   "folder for the shards, the vocabulary and manifest.yaml")
      ->required();
  command->add_option("--threads", options->threads, "0: all cores")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command
      ->add_option("--shard-tokens", options->shard_tokens,
                   "a shard ends with the document that reaches this")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--overwrite", options->overwrite, "replace the data set in --out");
  command->add_option("TEXT", options->texts, kTextHelp)->required();
  return {command, [options, cased, casing] {
            if (casing->count() > 0) options->cased = *cased;
            return PrepareAndReport(*options);
          }};
}

constexpr char kInspectedPaths[] =
    "a shard, a manifest.yaml or its folder; or an HDF5 file of NVIDIA's BERT layout, a folder of "
    "them or a list of their names (.txt)";

struct InspectArguments {
  std::string path;
  bool json = false;
  InspectionOptions options;
};

template <typename Inspection>
void Show(const Inspection& inspection, bool as_json) {
  if (as_json) {
    std::cout << JsonText(InspectionJson(inspection), 2) << "\n";
  } else {
    std::cout << InspectionText(inspection);
  }
}

absl::Status Inspect(const InspectArguments& arguments) {
  if (NamesNvidiaBert(arguments.path)) {
    ASSIGN_OR_RETURN(const NvidiaBertInspection inspection,
                     InspectNvidiaBert(arguments.path, arguments.options.samples));
    Show(inspection, arguments.json);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const ShardInspection inspection,
                   InspectShards(arguments.path, arguments.options));
  Show(inspection, arguments.json);
  return absl::OkStatus();
}

absl::Status Verify(const std::string& path) {
  if (NamesNvidiaBert(path)) {
    ASSIGN_OR_RETURN(const NvidiaBertVerification sum, VerifyNvidiaBert(path));
    absl::PrintF("%s: good: %d files, %d rows, %d tokens, %d targets, largest id %d\n", path,
                 sum.files, sum.rows, sum.tokens, sum.targets, sum.largest_id);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const VerificationSummary summary, VerifyShards(path));
  absl::PrintF("%s: good: %d shards, %d documents, %d tokens\n", path, summary.shards,
               summary.documents, summary.tokens);
  return absl::OkStatus();
}

Command AddInspect(CLI::App* app) {
  CLI::App* command =
      AddCommand(app, "inspect", "show what shards hold", "sluice-data inspect --json data/wiki");
  auto arguments = std::make_shared<InspectArguments>();
  command->add_option("PATH", arguments->path, kInspectedPaths)->required();
  command->add_flag("--json", arguments->json, "for programs");
  command->add_option("--samples", arguments->options.samples, "documents whose beginning is shown")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  return {command, [arguments] { return Inspect(*arguments); }};
}

Command AddVerify(CLI::App* app) {
  CLI::App* command = AddCommand(app, "verify", "read every byte of shards and check it",
                                 "sluice-data verify data/wiki");
  auto path = std::make_shared<std::string>();
  command->add_option("PATH", *path, kInspectedPaths)->required();
  return {command, [path] { return Verify(*path); }};
}

}  // namespace

std::function<absl::Status()> AddDataCommands(CLI::App* app) {
  app->require_subcommand(0, 1);  // CLI11 would hide a misspelt one behind "required"
  const std::vector<Command> commands = {AddLearnVocabulary(app), AddPrepare(app), AddInspect(app),
                                         AddVerify(app)};
  return [commands]() -> absl::Status {
    std::vector<std::string> names;
    for (const auto& [command, run] : commands) {
      if (command->parsed()) return run();
      names.push_back(command->get_name());
    }
    return UsageError("a subcommand is missing",
                      absl::StrCat("known: ", absl::StrJoin(names, ", ")));
  };
}

}  // namespace sluice
