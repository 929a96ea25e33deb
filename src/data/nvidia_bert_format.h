// Names and shapes of NVIDIA's BERT layout, for its reader and its tests. What the values mean is
// in docs/formats/nvidia_bert.md.
#pragma once

#include <array>
#include <cstddef>

namespace sluice::nvidia_bert_format {

// How wide a dataset's rows are.
enum class Width { kOne, kRow, kTargets };  // 1, T, P

struct DatasetDescription {
  const char* name;
  int dimensions;
  Width width;
};

enum DatasetIndex : size_t {
  kInputIds,
  kInputMask,
  kSegmentIds,
  kMaskedPositions,
  kMaskedIds,
  kNextSentenceLabels,
};

inline constexpr std::array<DatasetDescription, 6> kDatasets = {{
    {"input_ids", 2, Width::kRow},                // (rows, T)
    {"input_mask", 2, Width::kRow},               // (rows, T)
    {"segment_ids", 2, Width::kRow},              // (rows, T)
    {"masked_lm_positions", 2, Width::kTargets},  // (rows, P)
    {"masked_lm_ids", 2, Width::kTargets},        // (rows, P)
    {"next_sentence_labels", 1, Width::kOne},     // (rows)
}};

}  // namespace sluice::nvidia_bert_format
