// A checkpoint as a folder that Hugging Face's transformers loads: config.json, model.safetensors,
// the vocabulary, tokenizer_config.json. docs/formats/huggingface.md.
//
//   ASSIGN_OR_RETURN(const ExportReport report,
//                    ExportToHuggingFace({.checkpoint = "runs/bert_vga", .folder = "bert_vga",
//                                         .tokenizer = identity}));
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/shard_format.h"

namespace sluice {

struct ExportRequest {
  std::string checkpoint;       // a checkpoint or a run folder
  std::string folder;           // to be made; nothing that exists is overwritten
  TokenizerIdentity tokenizer;  // of the vocabulary in the checkpoint
};

struct ExportReport {
  std::string checkpoint;  // the one that was read
  int64_t step = 0;
  int64_t tensors = 0;
  int64_t parameters = 0;
  std::string attention;  // model.attention.variant: transformers computes vanilla, whatever it is
  // Parameters that transformers has no place for and calls unexpected: those of the attention
  // variants.
  std::vector<std::string> own_parameters;
};

// UsageError for a checkpoint of a model that transformers does not have.
absl::Status CheckCanBeExported(const std::string& checkpoint);

// The fp32 master weights, under Hugging Face's names. The same checkpoint gives the same bytes.
absl::StatusOr<ExportReport> ExportToHuggingFace(const ExportRequest& request);

}  // namespace sluice
