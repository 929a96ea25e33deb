#include "config/yaml_text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "core/status.h"
#include "core/utf8.h"
#include "yaml-cpp/eventhandler.h"

namespace sluice {
namespace {

constexpr size_t kLongestFile = 1 << 20;

// Empty when the line can be read, else what is wrong with it.
std::string LineProblem(absl::string_view line) {
  for (size_t i = 0; i < line.size();) {
    const size_t length = Utf8SequenceLength(line.substr(i));
    if (length == 0) return "not UTF-8";
    const auto c = static_cast<unsigned char>(line[i]);
    const bool line_end = c == '\r' && i + 1 == line.size();
    if (absl::ascii_iscntrl(c) && c != '\t' && !line_end) return "control character in YAML";
    i += length;
  }
  const absl::string_view indentation = line.substr(0, line.find_first_not_of(" \t\r"));
  const bool has_content = indentation.size() < line.size() && line[indentation.size()] != '#';
  if (has_content && indentation.find('\t') != absl::string_view::npos) {
    return "indented with a tab, YAML wants spaces";
  }
  return "";
}

absl::Status CheckLines(const std::string& text, const std::string& where) {
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    const std::string problem = LineProblem(line);
    if (!problem.empty()) return UsageError(problem, absl::StrCat(where, ":", line_number));
  }
  return absl::OkStatus();
}

// Notes where documents begin, and nothing else.
class DocumentStarts : public YAML::EventHandler {
 public:
  const std::vector<YAML::Mark>& marks() const { return marks_; }

  void OnDocumentStart(const YAML::Mark& mark) override { marks_.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

 private:
  std::vector<YAML::Mark> marks_;
};

// Where the first two documents of `text` begin. Not YAML::LoadAll: on a stray ',' or '}' at the
// top that makes empty documents without moving on, until memory is full.
std::vector<YAML::Mark> StartsOfDocuments(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentStarts starts;
  while (starts.marks().size() < 2 && parser.HandleNextDocument(starts)) {
  }
  return starts.marks();
}

absl::StatusOr<YAML::Node> Parse(const std::string& text, const std::string& where,
                                 bool with_lines) {
  const auto at = [&](const YAML::Mark& mark) {
    return with_lines && !mark.is_null() ? absl::StrCat(where, ":", mark.line + 1) : where;
  };
  try {
    const std::vector<YAML::Mark> starts = StartsOfDocuments(text);
    if (starts.size() < 2) return YAML::Load(text);
    if (starts[0].pos == starts[1].pos) {
      return UsageError("YAML syntax error", at(starts[0]), "nothing can begin like this");
    }
    return UsageError("more than one YAML document", at(starts[1]),
                      "a configuration is one document; remove the '---' line");
  } catch (const YAML::Exception& error) {
    return UsageError("YAML syntax error", at(error.mark), error.msg);
  } catch (const std::exception& error) {  // yaml-cpp lets some of the library's own through
    return UsageError("YAML syntax error", where, error.what());
  }
}

}  // namespace

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status file = std::filesystem::status(path, error);
  if (file.type() == std::filesystem::file_type::not_found) {
    return UsageError("configuration file does not exist", path);
  }
  if (error) return UsageError("cannot open the configuration file", path, error.message());
  if (std::filesystem::is_directory(file)) {
    return UsageError("configuration file is a folder", path);
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return UsageError("cannot open the configuration file", path, std::strerror(errno));
  }
  std::string text(kLongestFile + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return UsageError("cannot read the configuration file", path);
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kLongestFile) {
    return UsageError("not a configuration: longer than 1 MiB", path);
  }
  return text;
}

absl::StatusOr<YAML::Node> ParseYamlFile(const std::string& text, const std::string& where) {
  RETURN_IF_ERROR(CheckLines(text, where));
  return Parse(text, where, /*with_lines=*/true);
}

absl::StatusOr<YAML::Node> ParseYamlValue(const std::string& text, const std::string& where) {
  ASSIGN_OR_RETURN(const YAML::Node verbatim, VerbatimText(text, where));
  return Parse(verbatim.Scalar(), where, /*with_lines=*/false);
}

absl::StatusOr<YAML::Node> VerbatimText(const std::string& text, const std::string& where) {
  const std::string problem = LineProblem(text);
  if (!problem.empty()) return UsageError(problem, where);
  return YAML::Node(text);
}

}  // namespace sluice
