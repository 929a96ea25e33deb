#include "train/huggingface_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/error.h"
#include "core/status.h"

namespace sluice {
namespace {

constexpr size_t kMostProblems = 8;  // named in one error

bool SameShape(const SafetensorsEntry& entry, const Shape& shape) {
  if (std::ssize(entry.dims) != shape.rank()) return false;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (entry.dims[axis] != shape.dim(axis)) return false;
  }
  return true;
}

// Names what is missing, what is too many, and which shapes differ.
absl::Status CheckFit(const SafetensorsFolder& file, const HuggingFaceTensors& tensors,
                      const std::vector<TensorDestination>& weights) {
  std::vector<std::string> problems;
  for (const TensorDestination& weight : weights) {
    const auto name = tensors.file_name.find(weight.name);
    if (name == tensors.file_name.end()) {
      problems.push_back(absl::StrCat("missing tensor ", weight.name));
      continue;
    }
    const SafetensorsEntry& entry = *file.Find(name->second);
    if (!SameShape(entry, weight.shape)) {
      problems.push_back(absl::StrCat("tensor ", entry.name, " has shape ", entry.ShapeText(),
                                      ", expected ", weight.shape.ToString()));
    }
  }
  for (const std::string& name : tensors.unknown) {
    problems.push_back(absl::StrCat("unexpected tensor ", name));
  }
  if (problems.empty()) return absl::OkStatus();
  const size_t all = problems.size();
  problems.resize(std::min(all, kMostProblems));
  if (all > kMostProblems) problems.push_back(absl::StrCat("and ", all - kMostProblems, " more"));
  return CheckpointError("does not fit config.json", file.path(), absl::StrJoin(problems, "; "));
}

// Second names of tied parameters must have their bits: an untied decoder is another model.
absl::Status CheckCopies(const SafetensorsFolder& file, const HuggingFaceTensors& tensors,
                         const std::vector<TensorDestination>& weights) {
  for (const HuggingFaceTensors::Copy& copy : tensors.copies) {
    const auto weight = std::ranges::find(weights, copy.parameter, &TensorDestination::name);
    std::vector<float> values(weight->values.size());
    RETURN_IF_ERROR(file.Read(copy.name, values));
    if (std::memcmp(values.data(), weight->values.data(), weight->values.size_bytes()) == 0) {
      continue;
    }
    return CheckpointError("a tensor that must be tied has values of its own", file.path(),
                           absl::StrCat(copy.name, " is not ", copy.parameter));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadHuggingFaceWeights(const SafetensorsFolder& file,
                                    const HuggingFaceTensors& tensors,
                                    const std::vector<TensorDestination>& weights) {
  RETURN_IF_ERROR(CheckFit(file, tensors, weights));
  for (const TensorDestination& weight : weights) {
    RETURN_IF_ERROR(file.Read(tensors.file_name.at(weight.name), weight.values));
    const auto wrong =
        std::ranges::find_if(weight.values, [](float x) { return !std::isfinite(x); });
    if (wrong == weight.values.end()) continue;
    return CheckpointError("a weight is not finite", file.path(),
                           absl::StrCat(tensors.file_name.at(weight.name), ": element ",
                                        wrong - weight.values.begin(), " is ", *wrong));
  }
  return CheckCopies(file, tensors, weights);
}

}  // namespace sluice
