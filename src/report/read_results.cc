#include "report/read_results.h"

#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/error.h"
#include "core/status.h"
#include "data/atomic_file.h"
#include "nlohmann/json.hpp"

namespace sluice {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostMapBytes = int64_t{256} << 20;

absl::StatusOr<std::vector<Json>> ReadObjects(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  std::vector<Json> objects;
  const auto add = [&](const Json& json) {
    if (json.is_object()) objects.push_back(json);
    return json.is_object();
  };
  if (const auto whole = Json::parse(text, nullptr, /*allow_exceptions=*/false); whole.is_array()) {
    for (const Json& json : whole) add(json);
  } else if (!add(whole)) {
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
      if (!add(Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false))) {
        return DataError("is not JSON", path);
      }
    }
  }
  if (objects.empty()) return DataError("has no JSON object", path);
  return objects;
}

std::optional<double> NumberIn(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

std::string TextIn(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::map<std::string, double> OutliersIn(const Json& json) {
  std::map<std::string, double> outliers;
  if (!json.contains("outliers") || !json["outliers"].is_object()) return outliers;
  const auto metrics = json["outliers"].find("metrics");
  if (metrics == json["outliers"].end() || !metrics->is_object()) return outliers;
  for (const auto& [name, value] : metrics->items()) {
    if (value.is_number()) outliers[name] = value.get<double>();
  }
  return outliers;
}

ReportEvaluation EvaluationIn(const Json& json) {
  return {.data = TextIn(json, "data"),
          .bits = {},
          .step = static_cast<int64_t>(NumberIn(json, "step").value_or(0)),
          .perplexity = NumberIn(json, "perplexity"),
          .quantized_perplexity = {},
          .outliers = OutliersIn(json)};
}

std::vector<std::vector<double>> MatrixIn(const Json& rows) {
  std::vector<std::vector<double>> matrix;
  for (const Json& row : rows) {
    std::vector<double>& values = matrix.emplace_back();
    for (const Json& value : row) {
      values.push_back(value.is_number() ? value.get<double>()
                                         : std::numeric_limits<double>::quiet_NaN());
    }
  }
  return matrix;
}

}  // namespace

absl::StatusOr<std::vector<ReportEvaluation>> ReadEvaluations(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Json> objects, ReadObjects(path));
  std::vector<ReportEvaluation> evaluations;
  for (const Json& json : objects) evaluations.push_back(EvaluationIn(json));
  return evaluations;
}

absl::StatusOr<std::vector<ReportEvaluation>> ReadQuantizations(const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Json> objects, ReadObjects(path));
  std::vector<ReportEvaluation> quantizations;
  for (const Json& json : objects) {
    const auto before = json.find("fp32");
    const auto after = json.find("quantized");
    if (before == json.end() || !before->is_object() || after == json.end() || !after->is_array()) {
      return DataError("is not what `sluice quantize --json` prints", path);
    }
    for (const Json& one : *after) {
      ReportEvaluation quantization = EvaluationIn(json);
      quantization.perplexity = NumberIn(*before, "perplexity");
      quantization.outliers = OutliersIn(*before);
      quantization.quantized_perplexity = NumberIn(one, "perplexity");
      quantization.bits = absl::StrCat("W", NumberIn(one, "weight_bits").value_or(0), "A",
                                       NumberIn(one, "activation_bits").value_or(0));
      if (const auto norms = json.find("int16_layer_norms");
          norms != json.end() && norms->is_string() && *norms != "none") {
        absl::StrAppend(&quantization.bits, ", LayerNorms W16A16: ", norms->get<std::string>());
      }
      quantizations.push_back(std::move(quantization));
    }
  }
  return quantizations;
}

absl::StatusOr<AttentionMaps> ReadAttentionMaps(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (!error && static_cast<int64_t>(bytes) > kMostMapBytes) {
    return DataError("is too large for attention maps", path, absl::StrCat(bytes, " bytes"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("sequences")) {
    return DataError("has no attention maps", path);
  }
  AttentionMaps maps = {.step = static_cast<int64_t>(NumberIn(json, "step").value_or(0)),
                        .sequences = {}};
  for (const Json& one : json["sequences"]) {
    if (!one.is_object() || !one.contains("layers")) continue;
    AttentionMapSequence& sequence = maps.sequences.emplace_back();
    const auto index = one.find("index");
    sequence.index = index != one.end() && index->is_number_unsigned()
                         ? index->get<int64_t>()
                         : std::ssize(maps.sequences) - 1;
    if (one.contains("tokens")) {
      for (const Json& token : one["tokens"]) {
        sequence.tokens.push_back(token.is_string() ? token.get<std::string>() : token.dump());
      }
    }
    for (const Json& heads : one["layers"]) {
      auto& layer = sequence.layers.emplace_back();
      for (const Json& rows : heads) layer.push_back(MatrixIn(rows));
    }
  }
  return maps;
}

}  // namespace sluice
