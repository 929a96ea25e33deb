#include "train/huggingface_names.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/check.h"
#include "core/error.h"

namespace sluice {
namespace {

struct Rename {
  const char* theirs;
  const char* ours;
};

// The habits of one architecture's files.
struct FileNames {
  const char* prefix;                   // of the base model
  std::vector<const char*> submodules;  // of the base model: what a file without the prefix has
  std::vector<Rename> endings;          // of older versions
  std::vector<const char*> buffers;     // endings of what is computed, not learned
  std::vector<Rename> tied;             // a second name of a parameter
  std::vector<const char*> heads;       // beginnings of heads that a model may do without
};

const FileNames& FileNamesOf(const std::string& architecture) {
  static const FileNames bert = {
      .prefix = "bert.",
      .submodules = {"embeddings.", "encoder.", "pooler."},
      .endings = {{"LayerNorm.gamma", "LayerNorm.weight"}, {"LayerNorm.beta", "LayerNorm.bias"}},
      .buffers = {"embeddings.position_ids", "embeddings.token_type_ids"},
      .tied = {{"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"},
               {"cls.predictions.decoder.bias", "cls.predictions.bias"}},
      .heads = {"bert.pooler.", "cls.seq_relationship."}};
  static const FileNames opt = {.prefix = "model.",
                                .submodules = {"decoder."},
                                .endings = {},
                                .buffers = {},
                                .tied = {{"lm_head.weight", "model.decoder.embed_tokens.weight"}},
                                .heads = {}};
  CHECK(architecture == "bert" || architecture == "opt") << architecture;
  return architecture == "bert" ? bert : opt;
}

std::string ParameterName(const std::string& file_name, const FileNames& names) {
  std::string name = file_name;
  for (const char* submodule : names.submodules) {
    if (absl::StartsWith(file_name, submodule)) name = absl::StrCat(names.prefix, file_name);
  }
  for (const Rename& ending : names.endings) {
    if (!absl::EndsWith(name, ending.theirs)) continue;
    name = absl::StrCat(absl::StripSuffix(name, ending.theirs), ending.ours);
  }
  return name;
}

template <typename Matches>
bool AnyOf(const std::vector<const char*>& parts, const Matches& matches) {
  for (const char* part : parts) {
    if (matches(part)) return true;
  }
  return false;
}

}  // namespace

bool IsOwnParameter(const std::string& parameter) {
  for (const char* part : {".gate.", ".sink.", ".register_embeddings.", ".embed_registers."}) {
    if (absl::StrContains(parameter, part)) return true;
  }
  return false;
}

absl::StatusOr<HuggingFaceTensors> SortTensorNames(const std::vector<std::string>& file_names,
                                                   const std::vector<std::string>& parameters,
                                                   const ModelConfig& config,
                                                   const std::string& path) {
  const FileNames& names = FileNamesOf(config.architecture);
  const std::set<std::string> wanted(parameters.begin(), parameters.end());
  HuggingFaceTensors tensors;
  for (const std::string& file_name : file_names) {
    const std::string name = ParameterName(file_name, names);
    const auto begins = [&](const char* part) { return absl::StartsWith(name, part); };
    const auto ends = [&](const char* part) { return absl::EndsWith(name, part); };
    if (wanted.contains(name)) {
      const auto [other, inserted] = tensors.file_name.try_emplace(name, file_name);
      if (inserted) continue;
      return CheckpointError("two tensors are the same parameter", path,
                             absl::StrCat(other->second, ", ", file_name));
    }
    const Rename* tied = nullptr;
    for (const Rename& rename : names.tied) {
      if (name == rename.theirs) tied = &rename;
    }
    if (tied != nullptr) {
      tensors.copies.push_back({file_name, tied->ours});
    } else if (AnyOf(names.heads, begins)) {
      tensors.left_out.push_back(file_name);
    } else if (!AnyOf(names.buffers, ends)) {
      tensors.unknown.push_back(file_name);
    }
  }
  // A file may have a tied parameter under its second name alone.
  std::erase_if(tensors.copies, [&](const HuggingFaceTensors::Copy& copy) {
    return tensors.file_name.try_emplace(copy.parameter, copy.name).second;
  });
  return tensors;
}

}  // namespace sluice
