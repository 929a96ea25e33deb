// A checkpoint as a folder that Hugging Face's transformers loads: config.json, model.safetensors,
// vocab.txt, tokenizer_config.json. docs/formats/huggingface.md.
//
//   ASSIGN_OR_RETURN(const ExportReport report, ExportToHuggingFace({.checkpoint = "runs/bert_vga",
//                                                                    .folder = "bert_vga"}));
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

struct ExportRequest {
  std::string checkpoint;  // a checkpoint or a run folder
  std::string folder;      // to be made; nothing that exists is overwritten
  bool cased = false;      // whether the checkpoint's tokenizer tells cases apart
};

struct ExportReport {
  std::string checkpoint;  // the one that was read
  int64_t step = 0;
  int64_t tensors = 0;
  int64_t parameters = 0;
  // Parameters that transformers has no place for and calls unexpected: those of the gates.
  std::vector<std::string> own_parameters;
};

// The fp32 master weights, under Hugging Face's names. The same checkpoint gives the same bytes.
absl::StatusOr<ExportReport> ExportToHuggingFace(const ExportRequest& request);

}  // namespace sluice
