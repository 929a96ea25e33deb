// Which attention runs on a GPU, ours or cuDNN's, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/api/cudnn_attention.h"
#include "ops/attention_variant.h"
#include "runtime/dtype.h"

namespace sluice::ops {

enum class AttentionKernel { kSluice, kCudnn };

// What a run asks of attention.
struct AttentionNeeds {
  AttentionVariant variant = {};
  DType dtype = DType::kBFloat16;
  int64_t head_size = 64;
  int64_t length = 512;    // tokens of the longest row
  bool documents = false;  // tokens see their own document only
  bool train = false;      // with backward
  double dropout = 0;      // of probabilities, while training
};

// The capability list, in one place: why cuDNN cannot run this here, as a sentence; none: it can.
std::optional<std::string> WhyNotCudnn(const AttentionNeeds& needs, const cuda::CudnnFacts& facts);

struct AttentionChoice {
  AttentionKernel kernel = AttentionKernel::kSluice;
  std::string reason;  // a sentence
};

// A line for people: "attention: our kernel (cuDNN could not: …)".
std::string DescribeAttention(const AttentionChoice& choice);

// `name`: runtime.attention_kernel. auto is our own kernel, also where cuDNN could: no measurement
// says that cuDNN is faster. UsageError where cudnn is asked for and cannot.
absl::StatusOr<AttentionChoice> ChooseAttentionKernel(absl::string_view name,
                                                      const AttentionNeeds& needs,
                                                      const cuda::CudnnFacts& facts, bool on_cuda);

}  // namespace sluice::ops
