// A model that Hugging Face's transformers saved, as a checkpoint of step 0: weights widened to
// fp32, moments zero. docs/formats/huggingface.md.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

// CheckpointState::imported_from of what is made here.
inline constexpr char kImportedFromHuggingFace[] = "hugging_face";

struct ImportRequest {
  std::string folder;      // config.json, model.safetensors (or shards), a tokenizer
  std::string checkpoint;  // to be made; nothing that exists is overwritten
};

struct ImportReport {
  int64_t parameters = 0;
  std::vector<std::string> left_out;  // tensors of heads that the configuration does not have
};

// CheckpointError for a model or a tokenizer that this program does not have, tensors that are
// missing, unknown, or of another shape (each named), and a decoder that is not the embedding.
absl::StatusOr<ImportReport> ImportFromHuggingFace(const ImportRequest& request);

}  // namespace sluice
