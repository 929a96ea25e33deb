// The weights of a folder that Hugging Face's transformers saved, widened to fp32.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_folder.h"
#include "train/huggingface_names.h"

namespace sluice {

// Fills `weights` from the tensors that `tensors` sorted for them. CheckpointError that names what
// is missing, what is too many and which shapes differ, before anything is written; for a value
// that is not finite; and for a tied tensor with values of its own.
absl::Status ReadHuggingFaceWeights(const SafetensorsFolder& file,
                                    const HuggingFaceTensors& tensors,
                                    const std::vector<TensorDestination>& weights);

}  // namespace sluice
