#include "config/load.h"

#include <filesystem>

#include "absl/strings/ascii.h"
#include "config/layered_config.h"
#include "config/validate.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

// "configs/toy/bert vga.yaml" → "bert_vga".
std::string NameFromPath(const std::string& path) {
  std::string name = std::filesystem::path(path).stem().string();
  for (char& c : name) {
    const bool allowed = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-';
    if (!allowed) c = '_';
  }
  return name;
}

// What `apply` puts together, checked.
template <typename Apply>
absl::StatusOr<RunConfig> Assemble(const std::string& path, ConfigUse use, const Apply& apply) {
  try {
    LayeredConfig layers;
    apply(layers);
    RunConfig& config = layers.config();
    if (config.name.empty()) config.name = NameFromPath(path);
    if (layers.complete()) FindProblems(config, layers.provenance(), use, &layers.problems());
    RETURN_IF_ERROR(layers.problems().ToStatus(path));
    return config;
  } catch (const YAML::Exception& error) {  // a node that yaml-cpp itself refuses to touch
    return UsageError("cannot understand the configuration", path, error.what());
  }
}

}  // namespace

absl::StatusOr<RunConfig> LoadRunConfig(const std::string& path,
                                        const std::vector<std::string>& overrides, ConfigUse use) {
  return Assemble(path, use, [&](LayeredConfig& layers) {
    layers.ApplyFile(path);
    int number = 0;
    for (const std::string& text : overrides) layers.ApplyOverride(++number, text);
  });
}

absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text, const std::string& name,
                                         ConfigUse use) {
  return Assemble(name, use, [&](LayeredConfig& layers) { layers.ApplyText(text, name); });
}

}  // namespace sluice
