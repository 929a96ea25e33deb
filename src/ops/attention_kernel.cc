#include "ops/attention_kernel.h"

#include "absl/strings/str_cat.h"
#include "core/error.h"

namespace sluice::ops {
namespace {

// The first whose backward can be planned through one operation with masks and in one order.
constexpr int64_t kOldestVersion = 92800;

std::string VersionName(int64_t version) {
  return absl::StrCat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

// What does not depend on the machine.
std::optional<std::string> WhyNotThisAttention(const AttentionNeeds& needs) {
  const AttentionVariant& variant = needs.variant;
  if (needs.dtype != DType::kBFloat16 && needs.dtype != DType::kFloat16) {
    return absl::StrCat("cuDNN's attention is for bf16 and fp16, not ", DTypeName(needs.dtype));
  }
  if (variant.weights == AttentionWeights::kRelu) {
    return "attention without a softmax is not among cuDNN's operations";
  }
  if (variant.clip.enabled()) return "clipped softmax is not among cuDNN's operations";
  if (variant.sink == SoftmaxSink::kZero) {
    return "softmax plus one is not passed to cuDNN";
  }
  if (variant.sink == SoftmaxSink::kLogit) return "a learnable sink is not passed to cuDNN";
  if (variant.sink_token) return "a sink token is a key that cuDNN's operation does not have";
  if (variant.registers > 0)
    return "register tokens need a mask that cuDNN's operation does not have";
  if (needs.documents) return "cuDNN's operation has no mask by document";
  if (needs.train && needs.dropout > 0) {
    return "with dropout the masks must be the documented function of seed and sample, and cuDNN "
           "draws its own";
  }
  if (needs.head_size % 8 != 0) {
    return absl::StrCat("cuDNN wants head sizes that are multiples of 8, not ", needs.head_size);
  }
  if (needs.train && needs.length < 2) return "cuDNN's backward is not for rows of one token";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> WhyNotCudnn(const AttentionNeeds& needs, const cuda::CudnnFacts& facts) {
  if (!facts.built) return "this build has no cuDNN";
  if (facts.version < kOldestVersion) {
    return absl::StrCat("cuDNN is ", VersionName(facts.version), ", and ",
                        VersionName(kOldestVersion), " or newer is needed");
  }
  const int major = facts.compute_capability / 10;
  if (major < 9) {
    return absl::StrCat("the GPU is sm_", facts.compute_capability,
                        ", and cuDNN's attention is used on Hopper (sm_90) and newer");
  }
  if (major > 10) {
    return absl::StrCat("cuDNN has no backward with one order of sums on sm_",
                        facts.compute_capability);
  }
  const int64_t largest = major == 10 && needs.train ? 128 : 256;
  if (needs.head_size > largest) {
    return absl::StrCat("cuDNN's head sizes end at ", largest, " on sm_", facts.compute_capability,
                        needs.train ? " with a backward in one order" : "", ", and the model's is ",
                        needs.head_size);
  }
  return WhyNotThisAttention(needs);
}

std::string DescribeAttention(const AttentionChoice& choice) {
  return absl::StrCat(
      "attention: ", choice.kernel == AttentionKernel::kCudnn ? "cuDNN" : "our fused kernel", " (",
      choice.reason, ")");
}

absl::StatusOr<AttentionChoice> ChooseAttentionKernel(absl::string_view name,
                                                      const AttentionNeeds& needs,
                                                      const cuda::CudnnFacts& facts, bool on_cuda) {
  if (name == "sluice") return AttentionChoice{AttentionKernel::kSluice, "as asked for"};
  if (name == "cudnn") {
    const std::optional<std::string> why_not =
        on_cuda ? WhyNotCudnn(needs, facts) : std::string("runtime.device is cpu");
    if (!why_not) {
      return AttentionChoice{AttentionKernel::kCudnn,
                             absl::StrCat("as asked for, version ", VersionName(facts.version))};
    }
    return UsageError("runtime.attention_kernel cudnn cannot run this attention", "", *why_not);
  }
  if (name != "auto") {
    return UsageError("unknown runtime.attention_kernel", std::string(name),
                      "known: auto, sluice, cudnn");
  }
  if (!on_cuda) return AttentionChoice{AttentionKernel::kSluice, "cuDNN is for GPUs"};
  const std::optional<std::string> why_not = WhyNotCudnn(needs, facts);
  return AttentionChoice{AttentionKernel::kSluice,
                         why_not ? absl::StrCat("cuDNN could not: ", *why_not)
                                 : "cuDNN could too, but no measurement says that it is faster"};
}

}  // namespace sluice::ops
